"""The command line: commands, run_all, its tasks, notebooks and cluster."""
