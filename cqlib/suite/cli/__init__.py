"""The command line: commands, run_all.sh, its tasks, notebooks and the cluster."""

import sys

# Notebooks are checked by jsonschema, which would first spend 1.7 s on a grammar of web addresses. Without it addresses
# are not checked, as in an environment that lacks this package.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
