"""Where a test makes a run fail on purpose (``django_cluster.testing.faults``); empty in production."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from django_cluster.core.messages import TaskHeader


class FaultInjection:
    """What the executor calls before each function, with the header of the task and the number of the run.

    What it raises is treated as if the function had raised it. None: nothing is injected.
    """

    before_call: ClassVar[Callable[[TaskHeader, int], None] | None] = None
