"""A system per file, with nets that are its own: its source and deviations from it at the top, its recipe at the end.

`registry` finds them; `base` says what a system is.
"""
