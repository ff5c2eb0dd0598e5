"""``qcluster -n a:5,b``: the names and weights of the queues that one cluster works on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from django_cluster.core.nearest import nearest

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


def without(shares: Sequence[Share], excluded: Sequence[str], known: Sequence[str]) -> list[Share]:
    """The shares but for those whose queue is excluded, by name (``a``, ``a,b``) or pattern (``mail*``).

    Raises ``ValueError`` with a sentence for a name that is neither known nor among the shares, for a pattern that
    stands for nothing, and when nothing is left.
    """
    names = list(dict.fromkeys([*known, *(share.queue for share in shares)]))
    gone: set[str] = set()
    for part in (part for text in excluded for part in _parts(text, names)):
        matching = [name for name in names if name == part or (part not in names and fnmatchcase(name, part))]
        if not matching:
            near = nearest(part, names)
            hint = f"did you mean {near!r}?" if near else f"known: {', '.join(names)}."
            raise ValueError(f"There is no queue {part!r} to exclude; {hint}")
        gone.update(matching)
    left = [share for share in shares if share.queue not in gone]
    if shares and not left:
        raise ValueError(f"No queue is left to work on: {', '.join(share.queue for share in shares)} excluded.")
    return left


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
