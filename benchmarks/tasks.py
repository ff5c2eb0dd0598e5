"""The tasks that every system runs. Each leaves a mark, and returns something that has to be stored."""

from __future__ import annotations

import asyncio
import time

from benchmarks.marks import Pen

WORK_SECONDS = 0.001
PAUSE_SECONDS = 0.005

_pen = Pen()


def noop() -> int:
    """Nothing: what is measured is the system itself."""
    _pen.mark()
    return 1


def weigh(text: str) -> int:
    """Nothing, with a large argument."""
    _pen.mark()
    return len(text)


def work() -> int:
    """What a real task might do: a millisecond of Python and one read by the ORM."""
    from django.contrib.contenttypes.models import ContentType

    _pen.mark()
    until = time.thread_time() + WORK_SECONDS
    while time.thread_time() < until:
        pass
    return ContentType.objects.filter(model="contenttype").count()


async def pause() -> int:
    """What waits for a server: five milliseconds on an event loop."""
    _pen.mark()
    await asyncio.sleep(PAUSE_SECONDS)
    return 1


TASKS = {"noop": noop, "weigh": weigh, "work": work}
