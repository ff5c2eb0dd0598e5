"""The cluster of a run: start it, kill or freeze its processes, and find leftovers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from django_cluster.cluster.supervisor.embedded_cluster import Cluster
from django_cluster.cluster.supervisor.runtime_dir_owner import remove_abandoned
from django_cluster.errors import ClusterError
from django_cluster.signals import post_spawn
from django_cluster.testing.chaos.journal import JournalReader, append_line
from django_cluster.testing.chaos.observations import InjectedFault, ProcessStart, process_starts_from
from django_cluster.testing.chaos.pausing import freeze
from django_cluster.testing.chaos.plan import FaultKind, Target
from django_cluster.testing.chaos.processes import (
    children_of,
    is_alive,
    own_start_time,
    private_folder_of,
    process_tree,
)
from django_cluster.testing.chaos.sandbox import Sandbox

REPLACEMENT_TIMEOUT_SECONDS = 10.0
"""Longest wait for a target that is being replaced, not counting the time in which the sentinel is frozen."""
START_TIMEOUT_SECONDS = 60.0
"""Seconds during which a cluster that fails to start is started again, as by systemd."""
EXIT_TIMEOUT_SECONDS = 20.0
"""Seconds after the stop within which every process has to end: an orphaned monitor may still record outcomes."""
POLL_SECONDS = 0.01


class TargetCluster:
    """Starts the cluster, restarts it when its sentinel was killed, and lists the processes that were started."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._start_journal = JournalReader(sandbox.process_starts)
        self._cluster = Cluster(sandbox.settings)
        self._folders: set[Path] = set()
        self._orphaned_folders: set[Path] = set()
        self._killed: set[int] = set()
        self._frozen: list[subprocess.Popen[bytes]] = []
        self._frozen_until = 0.0
        """Monotonic time at which the sentinel is resumed; until then no process can be replaced."""
        self.process_starts: list[ProcessStart] = []
        self.incidents: list[str] = []

    # ── start and stop ─────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Start the cluster. Raises ``ClusterError`` if it does not start."""
        post_spawn.connect(self._record_process_start, dispatch_uid="django_cluster.testing.chaos")
        self._start()

    def _start(self) -> None:
        folder = private_folder_of(self._cluster.start())
        if folder is not None:
            self._folders.add(folder)

    def _restart(self) -> None:
        """Start the cluster again until it runs, as a process manager does."""
        until = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            try:
                return self._start()
            except ClusterError:
                if time.monotonic() > until:
                    raise

    def _record_process_start(self, proc_name: str, **_: Any) -> None:
        """Receiver of ``post_spawn``, called in each new process."""
        role = proc_name.partition(" ")[0]
        append_line(self._sandbox.process_starts, os.getpid(), os.getppid(), own_start_time(), role)

    def supervise(self) -> None:
        """Restart the cluster if its sentinel has ended by itself, which is an incident."""
        if self._cluster.is_running:
            return
        self.incidents.append(f"The sentinel ended by itself, with exit code {self._cluster.stop()}.")
        self._restart()

    def stop(self) -> None:
        """Stop the cluster gracefully; an exit code other than 0 is an incident."""
        code = self._cluster.stop()
        if code not in (0, None):
            self.incidents.append(f"The cluster was stopped gracefully, and ended with exit code {code}.")
        post_spawn.disconnect(dispatch_uid="django_cluster.testing.chaos")

    # ── faults ────────────────────────────────────────────────────────────────────────────────────

    def kill(self, target: Target, pick: float) -> InjectedFault | None:
        """Send SIGKILL to one process of this role; None if there was none."""
        if target is Target.SENTINEL:
            return self._kill_sentinel()
        pid = self._find(target, pick)
        return None if pid is None else self._kill(InjectedFault(time.monotonic(), target, pid, self._cluster.pid or 0))

    def freeze(self, target: Target, pick: float, seconds: float) -> InjectedFault | None:
        """Freeze one process, the sentinel or the whole cluster for ``seconds``; None if there was no process."""
        sentinel = self._cluster.pid or 0
        alone = target in (Target.SENTINEL, Target.CLUSTER)
        pid = sentinel if alone else self._find(target, pick)
        if pid is None:
            return None
        now = time.monotonic()
        self._frozen.append(freeze(process_tree(pid) if target is Target.CLUSTER else [pid], seconds))
        if alone:
            self._frozen_until = max(self._frozen_until, now + seconds)
        return InjectedFault(now, target, pid, sentinel, seconds, FaultKind.FREEZE)

    def wait_until_resumed(self) -> None:
        """Wait until all frozen processes are resumed."""
        for each in self._frozen:
            each.wait()
        self._frozen.clear()

    def _find(self, target: Target, pick: float) -> int | None:
        """The pid of one process of this role; waits while it is being replaced."""
        sentinel, until = self._cluster.pid or 0, time.monotonic() + REPLACEMENT_TIMEOUT_SECONDS
        while not (candidates := self._live_candidates(target, sentinel)):
            if (
                time.monotonic() > max(until, self._frozen_until + REPLACEMENT_TIMEOUT_SECONDS)
                or not self._cluster.is_running
            ):
                self.incidents.append(f"There was no {target} for {REPLACEMENT_TIMEOUT_SECONDS:g} seconds.")
                return None
            time.sleep(POLL_SECONDS)
        return candidates[int(pick * len(candidates))]

    def _live_candidates(self, target: Target, sentinel: int) -> list[int]:
        """Pids of live children of the own sentinel with this role that were not killed before."""
        self._read_process_starts()
        children = set(children_of(sentinel)) - self._killed
        return [b.pid for b in self.process_starts if b.role is target and b.sentinel == sentinel and b.pid in children]

    def _kill(self, injected: InjectedFault) -> InjectedFault | None:
        try:
            os.kill(injected.pid, signal.SIGKILL)
        except ProcessLookupError:
            return None
        self._killed.add(injected.pid)
        return injected

    def _kill_sentinel(self) -> InjectedFault | None:
        pid = self._cluster.pid or 0
        if (folder := private_folder_of(pid)) is not None:
            self._orphaned_folders.add(folder)
        injected = self._kill(InjectedFault(time.monotonic(), Target.SENTINEL, pid, pid))
        while self._cluster.is_running:
            time.sleep(POLL_SECONDS)
        self._cluster.stop()
        self._restart()
        return injected

    def _read_process_starts(self) -> None:
        self.process_starts += process_starts_from(self._start_journal.read_new())

    # ── leftovers ──────────────────────────────────────────────────────────────────────────────────

    def leftovers(self) -> list[str]:
        """Kill and delete the processes and folders that outlived the cluster; returns their descriptions."""
        self._read_process_starts()
        until = time.monotonic() + EXIT_TIMEOUT_SECONDS
        while (
            living := [b for b in self.process_starts if is_alive(b.pid, b.start_time)]
        ) and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
        for survivor in living:
            with suppress(ProcessLookupError):
                os.kill(survivor.pid, signal.SIGKILL)
        # The folder of a killed sentinel is swept by the next cluster after its last orphan has ended: do that now.
        for place in {folder.parent for folder in self._orphaned_folders}:
            remove_abandoned(place)
        folders = sorted(folder for folder in self._folders if folder.exists())
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        return [*(f"{b.role} {b.pid}" for b in living), *map(str, folders)]

    def stop_immediately(self) -> None:
        """Stop the cluster within a second, for a run that was interrupted."""
        post_spawn.disconnect(dispatch_uid="django_cluster.testing.chaos")
        with suppress(ClusterError):
            self._cluster.stop(patience=1.0)
