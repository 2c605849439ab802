"""python -m benchmarks: what this project says is fast, against what it replaces, side by side in one run.

`measuring` compares two sides, `sides` runs each in its own process, `machine` measures what the machine can do at
best. `steps`, `flow`, `images`, `sampling`, `memory` and `two_workers` have a group of rows each; `plain`,
`torchflows_nvp` and `sngan_example` are the other sides: a textbook loop, and public libraries. `table` holds all rows,
`page` renders docs/performance.md.
"""
