"""python -m benchmarks: times a training step against the textbook way of doing the same, side by side in one run.

The rows are in `steps`; each is a `comparison` of our step with those by `textbook` and `torchflows_nvp`. `results`
measures rows and keeps what they give, `page` renders docs/performance.md from it. `default_run` is a command of its
own.
"""
