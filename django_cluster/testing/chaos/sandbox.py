"""Where a run takes place: a queue, a group and a folder of its own, and settings that recover quickly."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from django_cluster.core.settings import Settings
from django_cluster.errors import ClusterError
from django_cluster.lifecycle.admission import ALL_FUNCTIONS


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The sandbox_settings place of one run; every process of the run knows it."""

    settings: Settings
    folder: Path

    @classmethod
    def create(cls, settings: Settings, lease: float) -> Sandbox:
        """A new sandbox for a cluster with these settings. Its folder stays until ``remove``."""
        if settings.broker.kind == "memory":
            raise ClusterError("The memory broker lives in one process; a cluster needs another.")
        queue = f"chaos-{secrets.token_hex(4)}"
        return cls(sandbox_settings(settings, queue, lease), Path(tempfile.mkdtemp(prefix="qchaos-")))

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def group(self) -> str:
        """The group of all rows of the run, named as its queue."""
        return self.settings.queue

    @property
    def executions(self) -> Path:
        """Executions, noted by the tasks themselves."""
        return self.folder / "executions"

    @property
    def process_starts(self) -> Path:
        """Processes of the cluster, noted by themselves."""
        return self.folder / "process_starts"

    @property
    def calls(self) -> Path:
        """What was enqueued, noted by who enqueued it."""
        return self.folder / "calls"

    @property
    def progress(self) -> Path:
        """How many rows there were and when, noted by who watched them."""
        return self.folder / "progress"

    @property
    def faults(self) -> Path:
        """What was done to the cluster, for people who look for the reason of what came after."""
        return self.folder / "faults"

    @property
    def log(self) -> Path:
        return self.folder / "log"


def sandbox_settings(settings: Settings, queue: str, lease: float) -> Settings:
    """The user's settings on another queue, patient without end and quick to try again.

    The name stays: were it that of the queue, the scheduler would fire the schedules of the whole site.
    """
    return replace(
        settings,
        queue=queue,
        sync=False,
        broker=replace(settings.broker, queue=queue, lease=lease),
        signing=replace(settings.signing, queue=queue, functions=ALL_FUNCTIONS, max_message_age=None),
        results=replace(settings.results, save_limit=0, cached=False),
        # What happens to these tasks is never their own fault: neither attempts nor deaths may end one.
        delivery=replace(
            settings.delivery,
            ack_failures=False,
            max_attempts=0,
            max_worker_deaths=0,
            retry_delay=0.1,
            retry_max_delay=1.0,
        ),
        # A fork inherits the receiver by which each process notes its start_time.
        processes=replace(settings.processes, start_method="fork"),
        reporters={},
    )
