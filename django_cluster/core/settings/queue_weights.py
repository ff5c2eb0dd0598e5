"""``qcluster -n a:5,b``: the names and weights of the queues that one cluster works on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from django_cluster.core.suggestions import closest_match

MAX_QUEUES = 50
"""Maximum number of queues of one cluster: a paused queue is one bit of a machine word."""
MAX_WEIGHT = 1000

WEIGHED = re.compile(r"(?P<name>.+):(?P<weight>[0-9]{1,9})")
PATTERN = re.compile(r"[*?\[]")


class QueueWeight(NamedTuple):
    """A queue, and the number of tasks that are leased from it in a turn in which every queue has tasks."""

    queue: str
    weight: int = 1


def parse_queue_weights(written: Sequence[str], known: Sequence[str]) -> list[QueueWeight]:
    """The queues in their order, each once; raises ``ValueError`` with a sentence.

    ``known``: the queues of the settings, among which a pattern with ``*`` or ``?`` selects. A name that is known is
    never read as a pattern.
    """
    parts = [part for text in written for part in _parts(text, known)]
    weights: dict[str, QueueWeight] = {}
    for part in parts:
        for each in _read(part, known, weighed=len(parts) > 1):
            weights.setdefault(each.queue, each)
    if len(weights) > MAX_QUEUES:
        raise ValueError(f"A cluster works on at most {MAX_QUEUES} queues; these are {len(weights)}.")
    return list(weights.values())


def exclude(weights: Sequence[QueueWeight], excluded: Sequence[str], known: Sequence[str]) -> list[QueueWeight]:
    """The weights but for those whose queue is excluded, by name (``a``, ``a,b``) or pattern (``mail*``).

    Raises ``ValueError`` with a sentence for a name that is neither known nor among the weights, for a pattern that
    matches nothing, and if nothing is left.
    """
    names = list(dict.fromkeys([*known, *(each.queue for each in weights)]))
    gone: set[str] = set()
    for part in (part for text in excluded for part in _parts(text, names)):
        matching = [name for name in names if name == part or (part not in names and fnmatchcase(name, part))]
        if not matching:
            near = closest_match(part, names)
            hint = f"did you mean {near!r}?" if near else f"known: {', '.join(names)}."
            raise ValueError(f"There is no queue {part!r} to exclude; {hint}")
        gone.update(matching)
    left = [each for each in weights if each.queue not in gone]
    if weights and not left:
        raise ValueError(f"No queue is left to work on: {', '.join(each.queue for each in weights)} excluded.")
    return left


def _parts(text: str, known: Sequence[str]) -> list[str]:
    return [text] if text in known else [part.strip() for part in text.split(",") if part.strip()]


def _read(part: str, known: Sequence[str], *, weighed: bool) -> Iterator[QueueWeight]:
    name, weight = part, 1
    found = WEIGHED.fullmatch(part)
    if found and part not in known and (weighed or PATTERN.search(part)):
        name, weight = found["name"], int(found["weight"])
    elif found and part not in known and not 1 <= int(found["weight"]) <= MAX_WEIGHT:
        name, weight = found["name"], int(found["weight"])  # one queue may be called a:5, but who writes a:0 means a
    if not 1 <= weight <= MAX_WEIGHT:
        raise ValueError(f"The weight of {name!r} must be a whole number from 1 to {MAX_WEIGHT}, not {weight}.")
    if name in known or not PATTERN.search(name):
        yield QueueWeight(name, weight)
        return
    matching = [queue for queue in known if fnmatchcase(queue, name)]
    if not matching:
        raise ValueError(f"No queue that the settings name is like {name!r}; they name {', '.join(known)}.")
    yield from (QueueWeight(queue, weight) for queue in matching)
