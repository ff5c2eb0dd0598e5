"""Numbers, rows of the scoreboard and processors of new incarnations of processes."""

from __future__ import annotations

from collections.abc import Container

from django_cluster.cluster.bootstrap.host import share_of_cpus, usable_cpus
from django_cluster.cluster.ipc.incarnation import Incarnation, ProcessRole
from django_cluster.cluster.ipc.runtime_dir import RuntimeDir
from django_cluster.core.settings import ProcessSettings


class IncarnationFactory:
    """Makes incarnations of one cluster. No number is given twice."""

    def __init__(self, settings: ProcessSettings) -> None:
        self._settings = settings
        self._cpus = usable_cpus()
        self._last_number = 0
        self._next_row = 0

    def new(self, role: ProcessRole, index: int, runtime_dir: RuntimeDir, used_rows: Container[int]) -> Incarnation:
        """``used_rows``: rows of the scoreboard that belong to living processes."""
        self._last_number += 1
        is_worker = role is ProcessRole.WORKER
        cpus = share_of_cpus(index, self._settings.cpu_affinity, self._cpus) if is_worker else []
        own_group = role in (ProcessRole.WORKER, ProcessRole.NOTIFIER) and not self._settings.daemonize
        row = self._free_row(runtime_dir.rows, used_rows)
        return Incarnation(role, index, self._last_number, row, runtime_dir, tuple(cpus), own_group)

    def _free_row(self, rows: int, used: Container[int]) -> int:
        """The row that has been unused for the longest time."""
        while True:
            row = self._next_row
            self._next_row = (self._next_row + 1) % rows
            if row not in used:
                return row
