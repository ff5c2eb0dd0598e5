"""A real server for the length of a test run: own port or socket, own folder, gone at the end whatever happens."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Self

import psutil

from tests.servers.tool import Tool

BOOT_TIMEOUT = 60.0
"""Seconds within which a server has to answer; generous, because the machine may be busy with other tests."""

WATCHDOG = 'read -r _; kill -s KILL -- "-$1" "$1" 2>/dev/null; rm -rf "$2"'
"""Waits for the end of a pipe that only the test process holds, so that it notices every kind of death."""


class Server(Tool, ABC):
    """One server process. ``start`` and ``stop`` are the ends of its life; between them it can be hurt."""

    account: ClassVar[str | None] = None
    """The account that runs the server when the tests run as root."""
    farewell: ClassVar[signal.Signals] = signal.SIGTERM
    """The signal that ends the server in the orderly way, without waiting for its clients to leave."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.watchdog: subprocess.Popen[bytes] | None = None
        self.lifeline: int | None = None
        """Set before the start: what the watchdog reads instead of a pipe that only this process holds."""
        # Short on purpose: the path of a unix socket may have about 100 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="dc-", dir=short_temporary_folder()))
        self.log = self.folder / "log"
        self.user = self.account if os.geteuid() == 0 else None
        if self.user:
            account = pwd.getpwnam(self.user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)

    # -- what an adapter says ------------------------------------------------------------------------

    @abstractmethod
    def prepare(self) -> None:
        """Make the data folder; called once, before the first start."""

    @abstractmethod
    def command(self) -> list[str]:
        """The command line of the server, running in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether a client is served at this moment."""

    # -- its life ------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start with fresh data, and return when it answers."""
        try:
            self.prepare()
            self._spawn()
        except BaseException as error:
            error.add_note(self.tail())  # the folder with the log is about to go
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End it, and delete its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL to all of its processes); the data stays."""
        for process in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self.process is not None:
            self.process.wait()
            self.process = None
        self._dismiss_watchdog()

    def terminate(self) -> None:
        """End it in the orderly way; the data stays."""
        if self.process is not None:
            self.resume()
            self.process.send_signal(self.farewell)
            self.process.wait(BOOT_TIMEOUT)
        self.kill()

    def restart(self) -> None:
        """Start again, with the same data at the same address; ends it first where it still runs."""
        self.terminate()
        self._spawn()

    def pause(self) -> None:
        """Let it hang (SIGSTOP): connections stay open, and nothing is answered."""
        for process in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def resume(self) -> None:
        """Let a paused server go on."""
        for process in self._tree():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """It hangs within the block."""
        self.pause()
        try:
            yield
        finally:
            self.resume()

    def tail(self, lines: int = 30) -> str:
        """The last lines of its log, for a failing test to show."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    # -- helpers -------------------------------------------------------------------------------------

    def program(self, name: str) -> str:
        found = self.find(name)
        if found is None:
            raise FileNotFoundError(f"{name} is not installed (Debian package {self.package})")
        return found

    def run(self, *command: str) -> None:
        """Run a helper program as the account of the server; its words go to the log."""
        with self.log.open("ab") as log:
            subprocess.run(command, check=True, cwd=self.folder, stdout=log, stderr=log, **self._identity())

    def succeeds(self, *command: str) -> bool:
        """Whether a helper program is content; what it says is of no interest."""
        done = subprocess.run(command, check=False, capture_output=True, cwd=self.folder, **self._identity())
        return done.returncode == 0

    def _identity(self) -> dict[str, Any]:
        if self.user is None:
            return {}
        return {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []}

    def _spawn(self) -> None:
        with self.log.open("ab") as log:
            # A session of its own, so that Ctrl-C in the terminal ends the tests first and the server after them.
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self._identity(),
            )
        self.watchdog = subprocess.Popen(
            ["/bin/sh", "-c", WATCHDOG, "watchdog", str(self.process.pid), str(self.folder)],
            stdin=subprocess.PIPE if self.lifeline is None else self.lifeline,
            stdout=subprocess.DEVNULL,  # it may outlive us, and whoever reads what we say waits for the end of it
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + BOOT_TIMEOUT
        while not self.answers():
            if self.process is None or self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not start:\n{self.tail()}")
            time.sleep(0.05)

    def _dismiss_watchdog(self) -> None:
        if self.watchdog is not None:
            self.watchdog.kill()
            self.watchdog.communicate()
            self.watchdog = None

    def _tree(self) -> list[psutil.Process]:
        """The server and its children, parents first."""
        if self.process is None:
            return []
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def short_temporary_folder() -> str:
    """The folder of temporary files of this run, in memory perhaps, unless its path is too long for a unix socket."""
    return folder if len(folder := tempfile.gettempdir()) <= 24 else "/tmp"


def free_port() -> int:
    """A TCP port that nobody listens on, below the range from which outgoing connections take theirs."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def listens(port: int) -> bool:
    """Whether somebody takes calls there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
