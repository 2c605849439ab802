"""The templates of the report and of the documents: in all of them a name that is not there is an error."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment(**options: Any) -> Environment:
    """Jinja2 on `cqlib/suite/report/templates`, with further `options`."""
    return Environment(
        loader=PackageLoader("cqlib.suite.report"), undefined=StrictUndefined, trim_blocks=True, **options
    )
