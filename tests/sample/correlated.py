"""Tasks and a hook that send others: who has caused what is seen in the rows."""

from __future__ import annotations

import logging
from typing import Any

from django_cluster import async_task, schedule
from django_cluster.core.correlation import current_correlation_id

logger = logging.getLogger("tests.sample.correlated")


def parent(depth: int = 1) -> str | None:
    """Send a child that does the same, ``depth`` times; returns the correlation id that the run sees."""
    if depth:
        async_task(parent, depth - 1, task_name=f"child {depth}")
    return current_correlation_id()


def hook(task: Any) -> None:
    async_task("tests.sample.tasks.nothing", task_name="sent by the hook")


def scheduling() -> None:
    schedule("tests.sample.tasks.nothing", name="once, from a task")


def logging_task() -> None:
    logger.warning("a line of a task")
