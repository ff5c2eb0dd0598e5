"""``manage.py`` with a clock at each hand-over: ``python -m benchmarks.stamped qcluster``.

Each of these places leaves a mark in a file of its own, a microsecond or two. The children are forked, and so have
the clocks, too.
"""

from __future__ import annotations

import functools
import sys
from typing import Any

import django
from django.core.management import execute_from_command_line

from benchmarks.marks import Pen

LEASED, HANDED_OUT, RECEIVED, FINISHED, SETTLED = ".leased", ".handed_out", ".received", ".finished", ".settled"
PLACES = (LEASED, HANDED_OUT, RECEIVED, FINISHED, SETTLED)
"""In the order of a task's life; also the ends of the names of their files."""


def stamp(owner: type, method: str, *, before: str | None = None, after: str | None = None) -> None:
    """Let this method leave a mark when it is called, or when it returns."""
    plain = getattr(owner, method)
    begin, end = (Pen(place) if place else None for place in (before, after))

    @functools.wraps(plain)
    def stamped(self: Any, *arguments: Any, **keywords: Any) -> Any:
        if begin is not None:
            begin.mark()
        answer = plain(self, *arguments, **keywords)
        if end is not None:
            end.mark()
        return answer

    setattr(owner, method, stamped)


def main() -> None:
    django.setup()
    from django_cluster.cluster.ipc.server import ClientConnection
    from django_cluster.cluster.roles.fetcher import Fetcher
    from django_cluster.lifecycle.executor import Executor
    from django_cluster.lifecycle.recorder import Recorder

    stamp(Fetcher, "_accept", before=LEASED)
    stamp(ClientConnection, "send", after=HANDED_OUT)
    stamp(Executor, "run", before=RECEIVED, after=FINISHED)
    stamp(Recorder, "record", after=SETTLED)
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
