"""A cluster that runs beside the test: in a session of its own, with a log, and open to every kind of attack."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGQUIT, SIGTERM, Signals
from typing import Self

import psutil
import pytest

from tests.conftest import wait_until
from tests.e2e.fork_server import ForkedProcess, fork_server_for

ROOT = Path(__file__).parents[2]

PATIENCE = 30.0
"""Seconds for what takes one on a machine that has nothing else to do. Costs nothing when all is well."""

ROLES = ("monitor", "pusher", "worker", "scheduler")


class RunningCluster:
    """One program that is, or holds, a sentinel.

    Who is who is read from the process titles, which setproctitle sets: ``qcluster <name> worker 1``. Who
    belongs to it is read from the session: a process can leave its group and its parent, but not that.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path, name: str, *, fresh: bool = False
    ) -> None:
        self.log = log
        self.name = name
        self.private_folders: set[Path] = set()
        self.may_crash = False
        """Whether a child may end with a traceback: a task has wrecked its process."""
        log.touch()
        server = None if fresh else fork_server_for(command, environment)
        self.process: subprocess.Popen[bytes] | ForkedProcess = (
            server.start(command[2:], environment, log, log) if server else _start(command, environment, log)
        )
        self.pid = self.process.pid

    # -- looking -------------------------------------------------------------------------------------

    @property
    def logs(self) -> str:
        return self.log.read_text(errors="replace")

    def tail(self, lines: int = 40) -> str:
        ended = "" if self.process.poll() is None else f", ended with {self.process.returncode}"
        return "\n".join([f"-- {self.pid}{ended} --", *self.logs.splitlines()[-lines:]])

    def wait_ready(self) -> Self:
        self.wait_for_log("is running")
        self.remember_folders()
        return self

    def wait_for_log(self, text: str, within: float = PATIENCE) -> None:
        """Until the log says so; fails at once if the program has ended without saying it."""

        def said() -> bool:
            ended = self.process.poll() is not None  # first, so that its last words are not missed
            if text in self.logs:
                return True
            if ended:
                pytest.fail(f"ended with {self.process.returncode} and never said {text!r}:\n{self.tail()}")
            return False

        wait_until(said, within, f"the log should say {text!r}")

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def members(self) -> list[psutil.Process]:
        """Everybody in the session who still lives: the cluster, and whatever its tasks have started."""
        found = []
        for pid in psutil.pids():
            with contextlib.suppress(ProcessLookupError, PermissionError, psutil.Error):
                if os.getsid(pid) == self.pid:
                    process = psutil.Process(pid)
                    if process.status() != psutil.STATUS_ZOMBIE:
                        found.append(process)
        return found

    def pids(self, role: str) -> list[int]:
        """The living processes of a role, in the order of their slots."""
        found = {}
        for process in self.members():
            with contextlib.suppress(psutil.Error):
                title = " ".join(process.cmdline()).strip()
                if title.startswith(f"qcluster {self.name} {role}"):
                    found[title] = process.pid
        return [found[title] for title in sorted(found)]

    def pid_of(self, role: str, index: int = 0) -> int:
        """The process that sits in this slot now, or as soon as there is one."""
        found: list[int] = []

        def sits() -> bool:
            found[:] = self.pids(role)
            return len(found) > index

        wait_until(sits, PATIENCE, f"there should be a {role} number {index + 1}")
        return found[index]

    def remember_folders(self) -> None:
        """Note the runtime directorys that the processes have mapped, to see later whether they are gone."""
        for process in self.members():
            with contextlib.suppress(psutil.Error):
                for each in process.memory_maps():
                    parent = Path(each.path).parent
                    if parent.name.startswith("qcluster-"):
                        self.private_folders.add(parent)

    # -- hurting -------------------------------------------------------------------------------------

    def signal(self, number: Signals) -> None:
        self.process.send_signal(number)

    def signal_group(self, number: Signals) -> None:
        """To everybody at once, as systemd, terminals and containers do."""
        os.killpg(self.pid, number)

    def kill(self, role: str, index: int = 0) -> int:
        """SIGKILL whoever sits in this slot; returns who it was."""
        pid = self.pid_of(role, index)
        os.kill(pid, SIGKILL)
        return pid

    def wait_for_replacement(self, role: str, gone: int, count: int = 1) -> list[int]:
        """The processes of a role, as soon as it is complete again without the one that was killed."""

        def complete() -> bool:
            pids = self.pids(role)
            return gone not in pids and len(pids) == count

        wait_until(complete, PATIENCE, f"the {role} should have been replaced")
        return self.pids(role)

    # -- ending --------------------------------------------------------------------------------------

    def stop(self, number: Signals = SIGTERM) -> int:
        """Ask it to end, wait, and return its exit code."""
        self.signal(number)
        return self.wait_for_exit()

    def wait_for_exit(self, within: float = PATIENCE) -> int:
        """The exit code; fails if the program, or any process of it, is still there when the time is up."""
        wait_until(lambda: not self.alive, within, "the cluster should have ended")
        self.wait_until_nobody_is_left()
        return self.process.wait()

    def wait_until_nobody_is_left(self, within: float = 8.0) -> None:
        wait_until(lambda: not self.members(), within, "nobody should survive the sentinel")

    def dismantle(self) -> list[str]:
        """End it, by force if need be; returns what is to be said against it."""
        complaints = []
        if self.alive:
            self.remember_folders()
            self._wake()
            self.signal(SIGQUIT)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                complaints.append("it did not obey SIGQUIT")
        complaints += self._end_survivors()
        complaints += [f"{folder} was left behind" for folder in self.private_folders if folder.exists()]
        return complaints + self._uncaught_errors()

    def _wake(self) -> None:
        """A test that failed may have left them stopped, and who is stopped obeys nobody."""
        for process in self.members():
            with contextlib.suppress(psutil.Error):
                process.send_signal(SIGCONT)

    def _end_survivors(self) -> list[str]:
        try:
            self.wait_until_nobody_is_left()
        except pytest.fail.Exception:
            survivors = self.members()
            names = [f"{process.pid} ({' '.join(process.cmdline())[:80]}) survived" for process in survivors]
            for process in survivors:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            self.process.wait()
            return names
        return []

    def _uncaught_errors(self) -> list[str]:
        """Tasks may fail; the cluster may neither crash nor be warned."""
        signs = ("Traceback (most recent call last)", "Warning: ")
        seen = [sign for sign in signs if sign in self.logs and not self.may_crash]
        return [f"the log shows {sign!r}:\n{self.tail(60)}" for sign in seen]


def _start(command: Sequence[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
