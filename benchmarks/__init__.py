"""python -m benchmarks: times what this project says is fast against what it replaces, side by side in one run.

A row, registered in `table`, is one thing to measure; its method `results` measures it. Most rows are a `comparison` of
`sides`, each in its own process: those in `steps`, `scores` and `sampling`; the others are in `time_to_quality`, `cost`
and `workers`. `textbook` and `torchflows_nvp` are what ours is compared with, `machine` counts what work a step is and
what the machine can do at best. `page` renders docs/performance.md. `default_run` is a command of its own.
"""
