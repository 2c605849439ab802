"""python -m benchmarks: what this project says is fast, against what it replaces, side by side in one run.

A row is measured by its `results` and registered in `table`. Most are a `comparison` of `sides`, each in its own
process (`side_process`): `steps`, `flow`, `scores`, `feeding`, `sampling`; the others are `time_to_quality`, `memory`,
`cost`, `workers`. `textbook`, `torchflows_nvp` and `sngan_example` are the other sides: a textbook loop, and public
libraries. `machine` measures what the machine can do at best, `page` and `pictures` render docs/performance.md.
`default_run` is a command of its own.
"""
