"""python -m benchmarks: times what this project says is fast against what it replaces, side by side in one run.

A row, registered in `table`, is one thing to measure; its method `results` measures it. Most rows are a `comparison` of
`sides`, each in its own process (`side_process`): those in `steps`, `flow`, `scores`, `feeding` and `sampling`; the
others are in `time_to_quality`, `memory`, `cost` and `workers`. `textbook`, `torchflows_nvp` and `sngan_example` have
what ours is compared with: a textbook loop, and public libraries. `machine` measures what the machine can do at best,
`page` and `pictures` render docs/performance.md. `default_run` is a command of its own.
"""
