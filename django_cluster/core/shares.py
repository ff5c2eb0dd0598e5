"""``qcluster -n a:5,b``: the names and weights of the queues that one cluster works on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

MAX_QUEUES = 50
"""A paused queue is one bit of a machine word."""
MAX_WEIGHT = 1000

WEIGHED = re.compile(r"(?P<name>.+):(?P<weight>[0-9]{1,9})")
PATTERN = re.compile(r"[*?\[]")


class Share(NamedTuple):
    """One queue, and how many tasks are taken from it in a turn when all have some."""

    queue: str
    weight: int = 1


def read_shares(written: Sequence[str], known: Sequence[str]) -> list[Share]:
    """The queues in their order, each once; raises ``ValueError`` with a sentence.

    ``known``: the queues that the settings name, which a name with ``*`` or ``?`` stands for. A name of theirs is
    taken as it is, whatever signs are in it.
    """
    parts = [part for text in written for part in _parts(text, known)]
    shares: dict[str, Share] = {}
    for part in parts:
        for share in _read(part, known, weighed=len(parts) > 1):
            shares.setdefault(share.queue, share)
    if len(shares) > MAX_QUEUES:
        raise ValueError(f"A cluster works on at most {MAX_QUEUES} queues; these are {len(shares)}.")
    return list(shares.values())


def _parts(text: str, known: Sequence[str]) -> list[str]:
    return [text] if text in known else [part.strip() for part in text.split(",") if part.strip()]


def _read(part: str, known: Sequence[str], *, weighed: bool) -> Iterator[Share]:
    name, weight = part, 1
    found = WEIGHED.fullmatch(part)
    if found and part not in known and (weighed or PATTERN.search(part)):
        name, weight = found["name"], int(found["weight"])
    if not 1 <= weight <= MAX_WEIGHT:
        raise ValueError(f"The weight of {name!r} must be a whole number from 1 to {MAX_WEIGHT}, not {weight}.")
    if name in known or not PATTERN.search(name):
        yield Share(name, weight)
        return
    matching = [queue for queue in known if fnmatchcase(queue, name)]
    if not matching:
        raise ValueError(f"No queue that the settings name is like {name!r}; they name {', '.join(known)}.")
    yield from (Share(queue, weight) for queue in matching)
