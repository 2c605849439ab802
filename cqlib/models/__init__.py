"""One system per file, with the nets that only it uses. Its source and the deviations from it are at the top, its
recipe is at the end.

`registry` finds them; `base` says what a system is.
"""
