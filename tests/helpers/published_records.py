"""The published records of today's data."""

import functools
from collections.abc import Iterable

from cqlib import data
from cqlib.experiments.record import Record
from cqlib.experiments.stages import fingerprint

_fingerprint = functools.cache(lambda size: fingerprint(data.load("photos10", size=size)))


def of_todays_data(records: Iterable[Record]) -> list[Record]:
    """Those on photos10 as it is today. Others, on an earlier photos10 or trained beside it on other data, are of the
    recipes of their time: they stay until new runs take their place, and say nothing of today's code."""
    return [r for r in records if r.data.name == "photos10" and r.data.fingerprint == _fingerprint(r.data.shape[-1])]
