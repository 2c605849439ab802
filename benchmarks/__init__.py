"""python -m benchmarks: times what this project says is fast against what it replaces, side by side in one run.

A row, registered in `table`, is one thing to measure; its method `results` measures it. Most rows are a `comparison` of
`sides`, each in its own process: those in `steps`, `scores` and `sampling`; the other is in `time_to_quality`.
`textbook` and `torchflows_nvp` are what ours is compared with; `machine` counts the work of a step and what the machine
can do at best. `page` renders docs/performance.md. `default_run` is a command of its own.
"""
