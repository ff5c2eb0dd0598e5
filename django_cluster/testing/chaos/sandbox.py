"""The sandbox of a run: its own queue, group and folder, and settings with short leases and immediate retries."""

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
    """Settings and folder of one run, passed to each of its processes."""

    settings: Settings
    folder: Path

    @classmethod
    def create(cls, settings: Settings, lease: float) -> Sandbox:
        """Create the sandbox of a run, until ``remove``. Raises ``ClusterError`` for the memory broker."""
        if settings.broker.kind == "memory":
            raise ClusterError("The memory broker lives in one process; a cluster needs another.")
        queue = f"chaos-{secrets.token_hex(4)}"
        return cls(sandbox_settings(settings, queue, lease), Path(tempfile.mkdtemp(prefix="qchaos-")))

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def group(self) -> str:
        """The group of all tasks of the run; its name is that of the queue."""
        return self.settings.queue

    @property
    def executions(self) -> Path:
        """Journal of executions, written by the tasks."""
        return self.folder / "executions"

    @property
    def process_starts(self) -> Path:
        """Journal of the processes of the cluster, written by each process when it starts."""
        return self.folder / "process_starts"

    @property
    def calls(self) -> Path:
        """Journal of calls, written by the sender."""
        return self.folder / "calls"

    @property
    def progress(self) -> Path:
        """Journal of progress, written by the observer."""
        return self.folder / "progress"

    @property
    def faults(self) -> Path:
        """Journal of injected faults, for debugging."""
        return self.folder / "faults"

    @property
    def cancels(self) -> Path:
        """Journal of cancelled tasks, written before each is cancelled."""
        return self.folder / "cancels"

    @property
    def log(self) -> Path:
        return self.folder / "log"


def sandbox_settings(settings: Settings, queue: str, lease: float) -> Settings:
    """The settings of the project for another queue, with unlimited attempts and short retry delays.

    The namespace is kept: if it were that of the queue, the scheduler would run all schedules of the project.
    """
    return replace(
        settings,
        queue=queue,
        sync=False,
        broker=replace(settings.broker, queue=queue, lease=lease),
        signing=replace(settings.signing, queue=queue, functions=ALL_FUNCTIONS, max_message_age=None),
        results=replace(settings.results, save_limit=0, cached=False),
        # Failures of these tasks come from injected faults: neither attempts nor worker deaths may end one.
        delivery=replace(
            settings.delivery,
            ack_failures=False,
            max_attempts=0,
            max_worker_deaths=0,
            retry_delay=0.1,
            retry_max_delay=1.0,
        ),
        # With fork, children inherit the signal receiver that records process starts.
        processes=replace(settings.processes, start_method="fork"),
        reporters={},
    )
