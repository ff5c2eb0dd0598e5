"""The task class of the backend: Django's, with the options that a cluster understands."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Self

from django.utils import timezone

from django_cluster.framework.compat import FrameworkContext, FrameworkTask

Backoff = Callable[[BaseException, Any], float | timedelta | None]
"""(exception, task result) → seconds until the next attempt; None = there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterTask(FrameworkTask):  # type: ignore[type-arg]  # generic in the backport only
    """A task of Django's framework for a ``ClusterBackend``: ``@task(max_attempts=5, timeout=30)``.

    From Django 6.1 on, and with the backport, the decorator takes these options. With Django 6.0 write
    ``ClusterTask(func=function, max_attempts=5)``.
    """

    max_attempts: int | None = None
    """Runs in all, the first included; None = what ``OPTIONS`` says."""
    backoff: Backoff | None = field(default=None, hash=False)
    """Called after a run that failed; returns the seconds until the next, or None to give up."""
    timeout: float | timedelta | None = None
    """Seconds that a run may take; None = what ``OPTIONS`` says."""
    metadata: Mapping[str, Any] | None = field(default=None, hash=False)
    """Values that travel beside the arguments, such as a trace id; JSON."""

    def using(
        self,
        *,
        priority: int | None = None,
        queue_name: str | None = None,
        run_after: datetime | timedelta | None = None,
        backend: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Self:
        """A copy with other values. ``run_after``: a datetime, or a timedelta from now."""
        given: dict[str, Any] = {
            "priority": priority,
            "queue_name": queue_name,
            "run_after": timezone.now() + run_after if isinstance(run_after, timedelta) else run_after,
            "backend": backend,
            "metadata": metadata,
        }
        return replace(self, **{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterTaskContext(FrameworkContext):
    """What a task with ``takes_context`` is given: Django's context, and the metadata of the task."""

    metadata: dict[str, Any] = field(default_factory=dict)
    """Values that travel beside the arguments; may be changed, and kept by ``save_metadata``."""
    save: Callable[[Any], None] = field(repr=False, compare=False)

    def save_metadata(self) -> None:
        """Write the metadata to the row of the task. Raises ``TypeError`` for what JSON does not know."""
        self.save(self.metadata)
