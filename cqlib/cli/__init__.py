"""The command line: commands, run_all.sh, its tasks, notebooks and the cluster."""
