"""Files that are run and never imported, those of tools/ and examples/, as modules to test."""

import importlib.util
from types import ModuleType

from cqlib.util.paths import ROOT


def script(path: str) -> ModuleType:
    """The file `path` of the repository, executed as a module (`__name__` is not "__main__")."""
    name = path.rpartition("/")[2].removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, ROOT / path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
