"""A Django project for one test: its settings, its database, its queue, and the clusters that work on it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.db import connections
from django.db.models import Sum
from django.test import override_settings

from django_cluster.brokers.base import Broker
from django_cluster.client.client import get_client
from django_cluster.models import Rollup, Task
from django_cluster.tasks import async_bulk, async_task
from tests.conftest import wait_until
from tests.e2e.running_cluster import PATIENCE, RunningCluster

QCLUSTER = ("-m", "django", "qcluster")


@contextmanager
def working_on(database: Mapping[str, Any]) -> Iterator[None]:
    """Within the block, this is the default database of this process."""
    saved_entry, saved_connection = connections.databases["default"], connections["default"]
    entry = connections.configure_settings({"default": dict(database)})["default"]
    connections.databases["default"] = entry
    connections["default"] = connections.create_connection("default")
    try:
        yield
    finally:
        connections["default"].close()
        connections.databases["default"], connections["default"] = saved_entry, saved_connection


class Project:
    """Sends tasks from this process, starts clusters beside it, and reads the rows that they leave."""

    def __init__(self, database: Mapping[str, Any], environment: Mapping[str, str], **q_cluster: Any) -> None:
        self.name = f"e2e-{uuid4().hex[:8]}"
        # Keeps all rows. Whether a failed task is run again, each test that wants it says by itself.
        self.q_cluster = {"name": self.name, "workers": 2, "save_limit": 0, "max_attempts": 1, **q_cluster}
        self.database = database
        # Short on purpose: the path of a unix socket may have about 100 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="dc-", dir="/tmp"))
        self.clusters: list[RunningCluster] = []
        self._environment = environment
        self.fresh = False
        """Whether programs are started as users start them, and not by the fork server."""

    @property
    def trace(self) -> Path:
        """A file into which tasks may write what they have done."""
        return self.folder / "trace"

    def traces(self) -> list[str]:
        return self.trace.read_text().splitlines() if self.trace.exists() else []

    # -- the side that asks --------------------------------------------------------------------------

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within the block, this process works with the settings and the database of the project."""
        with working_on(self.database), override_settings(Q_CLUSTER=self.q_cluster):
            yield

    def broker(self) -> Broker:
        return get_client().broker

    def enqueue(self, func: Callable[..., Any] | str, *args: Any, **kwargs: Any) -> str:
        return async_task(func, *args, **kwargs)

    def enqueue_many(self, func: Callable[..., Any] | str, calls: Iterable[Any], **kwargs: Any) -> list[str]:
        return async_bulk(func, calls, **kwargs)

    def forget_connection(self) -> None:
        """Close our connection to the database: its server is about to go away."""
        connections["default"].close()

    # -- what came of it -----------------------------------------------------------------------------

    def rows(self) -> list[Task]:
        """Tasks that have ended, for good or not, in the order of their ending."""
        return list(Task.objects.order_by("stopped_at"))

    def row(self, task_id: str) -> Task | None:
        return Task.objects.filter(pk=task_id).first()

    def count(self, **conditions: Any) -> int:
        """How many tasks have ended for good."""
        return Task.objects.filter(final=True, **conditions).count()

    def counted(self) -> int:
        """How many successes history has counted."""
        return Rollup.objects.filter(status="success").aggregate(total=Sum("runs"))["total"] or 0

    def wait_for_rows(self, number: int, within: float = PATIENCE, because: str = "") -> list[Task]:
        """The rows, as soon as so many tasks have ended for good; fails at once if there are more."""

        def reached() -> bool:
            return self.count() >= number

        because = because or f"{number} tasks should have ended"
        wait_until(reached, within, because)
        assert self.count() == number
        return self.rows()

    def wait_for_row(self, task_id: str, within: float = PATIENCE, because: str = "") -> Task:
        """The row of a task that has ended for good."""
        wait_until(
            lambda: Task.objects.filter(pk=task_id, final=True).exists(),
            within,
            because or f"task {task_id} should have ended",
        )
        return Task.objects.get(pk=task_id)

    def wait_for_traces(self, number: int, within: float = PATIENCE, because: str = "") -> list[str]:
        because = because or f"{number} tasks should have left a trace"
        wait_until(lambda: len(self.traces()) >= number, within, because)
        return self.traces()

    def wait_until_queued(self, number: int) -> None:
        """Until so many messages are ready in the queue."""
        wait_until(lambda: self.broker().size().ready == number, PATIENCE, f"{number} messages should wait")

    # -- the side that works -------------------------------------------------------------------------

    def start(self, *arguments: str, environment: Mapping[str, str] | None = None, **changes: Any) -> RunningCluster:
        """Start ``qcluster`` and wait until it is running. ``changes`` are settings of this cluster alone."""
        return self.launch(*QCLUSTER, *arguments, environment=environment, **changes).wait_ready()

    def launch(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        **changes: Any,
    ) -> RunningCluster:
        """Start a Python program with the settings of the project, and wait for nothing.

        ``prefix``: a command that makes its surroundings, and then becomes it.
        """
        whole = {**self.environment(**changes), **(environment or {})}
        log = self.folder / f"log-{len(self.clusters) + 1}"
        # Children that begin with nothing ask how their parent was started.
        fresh = self.fresh or "start_method" in {**self.q_cluster, **changes}
        cluster = RunningCluster([*prefix, sys.executable, *arguments], whole, log, self.name, fresh=fresh)
        self.clusters.append(cluster)
        return cluster

    def environment(self, **changes: Any) -> dict[str, str]:
        """What a process needs to know to be part of the project."""
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        return {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.django_settings",
            "PYTHONWARNINGS": "default",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "",  # empty is as if it were not set: else each start would compile everything
            "TMPDIR": str(temporary),
            "TEST_Q_CLUSTER": json.dumps({**self.q_cluster, **changes}),
            **self._environment,
        }

    # -- the end -------------------------------------------------------------------------------------

    def dismantle(self) -> None:
        """End every cluster, and insist that each has left nothing and nobody behind."""
        try:
            complaints = [complaint for cluster in self.clusters for complaint in cluster.dismantle()]
            left = [path.name for path in (self.folder / "tmp").glob("qcluster-*")]
            assert not complaints + left, "; ".join(complaints + left)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def tail(self, lines: int = 40) -> str:
        """The last words of each cluster, for a failing test to show."""
        return "\n".join(cluster.tail(lines) for cluster in self.clusters)
