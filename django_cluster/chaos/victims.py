"""The cluster under fire: who its processes are, how one of them is killed, and who is left in the end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from django_cluster.chaos.evidence import Birth, Hit, births_from
from django_cluster.chaos.journal import Reader, note
from django_cluster.chaos.pausing import freeze
from django_cluster.chaos.plan import Kind, Target
from django_cluster.chaos.processes import children_of, family_of, is_alive, own_birth, private_folder_of
from django_cluster.chaos.stage import Stage
from django_cluster.cluster.cluster import Cluster
from django_cluster.cluster.private_folder import sweep
from django_cluster.errors import ClusterError
from django_cluster.signals import post_spawn

MISSING = 10.0
"""Seconds to wait for a victim that is being replaced, not counting those in which nobody could replace it."""
UNWILLING = 60.0
"""Seconds in which a cluster that does not start, because its server is away, is started again, as by systemd."""
LEFT_ALONE = 20.0
"""Seconds after the end in which every process has to be gone: an orphan may take some to file what it holds."""
GLANCE = 0.01


class Victims:
    """Starts the cluster on the stage, again when its sentinel was killed, and keeps the list of the born."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._register = Reader(stage.births)
        self._cluster = Cluster(stage.settings)
        self._folders: set[Path] = set()
        self._forsaken: set[Path] = set()
        self._killed: set[int] = set()
        self._frozen: list[subprocess.Popen[bytes]] = []
        self._busy_until = 0.0
        """When the last of those thaws on whom a replacement depends."""
        self.births: list[Birth] = []
        self.incidents: list[str] = []

    # ── life ─────────────────────────────────────────────────────────────────────────────────────

    def start(self) -> None:
        """Raises ``ClusterError`` when it does not come up."""
        post_spawn.connect(self._note_birth, dispatch_uid="django_cluster.chaos")
        self._start()

    def _start(self) -> None:
        folder = private_folder_of(self._cluster.start())
        if folder is not None:
            self._folders.add(folder)

    def _start_again(self) -> None:
        """Like whoever supervises a cluster: it is started until it runs."""
        until = time.monotonic() + UNWILLING
        while True:
            try:
                return self._start()
            except ClusterError:
                if time.monotonic() > until:
                    raise

    def _note_birth(self, proc_name: str, **_: Any) -> None:
        """In the new process: say who we are."""
        role = proc_name.partition(" ")[0]
        note(self._stage.births, os.getpid(), os.getppid(), own_birth(), role)

    def look_after(self) -> None:
        """A sentinel that has ended although nobody killed it is an incident; another takes its place."""
        if self._cluster.is_running:
            return
        self.incidents.append(f"The sentinel ended by itself, with exit code {self._cluster.stop()}.")
        self._start_again()

    def stop(self) -> None:
        """Gracefully; the exit code must say so."""
        code = self._cluster.stop()
        if code not in (0, None):
            self.incidents.append(f"The cluster was stopped gracefully, and ended with exit code {code}.")
        post_spawn.disconnect(dispatch_uid="django_cluster.chaos")

    # ── blows ────────────────────────────────────────────────────────────────────────────────────

    def kill(self, target: Target, pick: float) -> Hit | None:
        """SIGKILL one of those who are ``target``; None when there was none to be found."""
        if target is Target.SENTINEL:
            return self._kill_sentinel()
        pid = self._find(target, pick)
        return None if pid is None else self._kill(Hit(time.monotonic(), target, pid, self._cluster.pid or 0))

    def freeze(self, target: Target, pick: float, seconds: float) -> Hit | None:
        """SIGSTOP one of them, or the sentinel, or the whole cluster; SIGCONT after so many seconds."""
        sentinel = self._cluster.pid or 0
        alone = target in (Target.SENTINEL, Target.CLUSTER)
        pid = sentinel if alone else self._find(target, pick)
        if pid is None:
            return None
        now = time.monotonic()
        self._frozen.append(freeze(family_of(pid) if target is Target.CLUSTER else [pid], seconds))
        if alone:
            self._busy_until = max(self._busy_until, now + seconds)
        return Hit(now, target, pid, sentinel, seconds, Kind.FREEZE)

    def thaw(self) -> None:
        """Wait until all of them go on."""
        for each in self._frozen:
            each.wait()
        self._frozen.clear()

    def _find(self, target: Target, pick: float) -> int | None:
        """One of those who are ``target``; waits for one that is being replaced."""
        sentinel, until = self._cluster.pid or 0, time.monotonic() + MISSING
        while not (candidates := self._living(target, sentinel)):
            if time.monotonic() > max(until, self._busy_until + MISSING) or not self._cluster.is_running:
                self.incidents.append(f"There was no {target} for {MISSING:g} seconds.")
                return None
            time.sleep(GLANCE)
        return candidates[int(pick * len(candidates))]

    def _living(self, target: Target, sentinel: int) -> list[int]:
        """Only a living child of our own sentinel is ever killed, whatever the register says; and each only once."""
        self._hear_of_births()
        children = set(children_of(sentinel)) - self._killed
        return [b.pid for b in self.births if b.role is target and b.sentinel == sentinel and b.pid in children]

    def _kill(self, hit: Hit) -> Hit | None:
        try:
            os.kill(hit.pid, signal.SIGKILL)
        except ProcessLookupError:
            return None
        self._killed.add(hit.pid)
        return hit

    def _kill_sentinel(self) -> Hit | None:
        pid = self._cluster.pid or 0
        if (folder := private_folder_of(pid)) is not None:
            self._forsaken.add(folder)
        hit = self._kill(Hit(time.monotonic(), Target.SENTINEL, pid, pid))
        while self._cluster.is_running:
            time.sleep(GLANCE)
        self._cluster.stop()
        self._start_again()
        return hit

    def _hear_of_births(self) -> None:
        self.births += births_from(self._register.news())

    # ── the end ──────────────────────────────────────────────────────────────────────────────────

    def left_behind(self) -> list[str]:
        """Processes and folders that outlived the cluster; they are then ended and deleted."""
        self._hear_of_births()
        until = time.monotonic() + LEFT_ALONE
        while (living := [b for b in self.births if is_alive(b.pid, b.birth)]) and time.monotonic() < until:
            time.sleep(GLANCE)
        for survivor in living:
            with suppress(ProcessLookupError):
                os.kill(survivor.pid, signal.SIGKILL)
        # What a killed sentinel has left goes when the next cluster starts, and its last orphan has ended: so now.
        for place in {folder.parent for folder in self._forsaken}:
            sweep(place)
        folders = sorted(folder for folder in self._folders if folder.exists())
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
        return [*(f"{b.role} {b.pid}" for b in living), *map(str, folders)]

    def abandon(self) -> None:
        """End whoever is there, as quickly as can be; for a run that is broken off."""
        post_spawn.disconnect(dispatch_uid="django_cluster.chaos")
        with suppress(ClusterError):
            self._cluster.stop(patience=1.0)
