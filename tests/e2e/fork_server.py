"""Starts clusters by a fork of a process that has imported everything: a tenth of a second instead of a whole one.

What a test sees is as after ``subprocess.Popen``; see ``fork_server_main`` for what the child begins with.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

READ_AT_THE_START = ("PYTHON", "LD_", "LC_", "LANG", "TZ", "MALLOC_", "COVERAGE_")
"""Variables of these beginnings are read by the interpreter or by a library before any code of ours runs."""


class ForkedProcess:
    """A child of the fork server, with the methods of ``subprocess.Popen`` that tests use."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self._server = server
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._server.ask(poll=self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline = time.monotonic() + timeout if timeout is not None else None
        while (code := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        # Until somebody has asked for its exit code, nobody else has its number.
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """One for a test process, for as long as that lives."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._fixed = _fixed(environment)
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        self._lines = self._socket.makefile("rw")
        self._said = tempfile.TemporaryFile("a+")  # noqa: SIM115  closed by stop()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.fork_server_main", str(theirs.fileno())],
                cwd=ROOT,
                env={name: value for name, value in environment.items() if not name.startswith("TEST_")},
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=self._said,
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self.stop)
        self._answer()
        if said := self._words():
            raise RuntimeError(f"what a cluster imports should import in silence: {said}")

    def can_start(self, environment: Mapping[str, str]) -> bool:
        """Whether the interpreter and the libraries would begin with this environment as they have begun here."""
        return _fixed(environment) == self._fixed

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], out: Path, error: Path) -> ForkedProcess:
        """``python -m`` with these arguments, which writes to the end of these files."""
        return ForkedProcess(
            self, self.ask(start=arguments, environment=dict(environment), out=str(out), error=str(error))
        )

    def ask(self, **request: Any) -> Any:
        with self._lock:
            self._lines.write(f"{json.dumps(request)}\n")
            self._lines.flush()
            return self._answer()

    def stop(self) -> None:
        self._lines.close()
        self._socket.close()
        self._process.wait()
        self._said.close()

    def _answer(self) -> Any:
        if line := self._lines.readline():
            return json.loads(line)
        raise RuntimeError(f"the fork server has ended: {self._words()}")

    def _words(self) -> str:
        self._said.seek(0)
        return self._said.read()


def _fixed(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_THE_START)}


@cache
def _the_server(process: int) -> list[ForkServer]:
    """The one of this process, as soon as there is one: a child that a test has forked has none."""
    return []


def fork_server_for(command: Sequence[str], environment: Mapping[str, str]) -> ForkServer | None:
    """Who can start this command in this environment, or nobody: then it has to be started as it is."""
    if not sys.platform.startswith("linux") or command[:2] != [sys.executable, "-m"] or "coverage" in sys.modules:
        return None
    servers = _the_server(os.getpid())
    if not servers:
        servers.append(ForkServer(environment))
    return servers[0] if servers[0].can_start(environment) else None


def run(command: Sequence[str], environment: Mapping[str, str], within: float = 60) -> subprocess.CompletedProcess[str]:
    """What a command says until its end, and its exit code."""
    server = fork_server_for(command, environment)
    if server is None:
        return subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=within, check=False
        )
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as error:
        process = server.start(command[2:], environment, Path(out.name), Path(error.name))
        try:
            code = process.wait(within)
        finally:
            process.kill()
        return subprocess.CompletedProcess(command, code, out.read(), error.read())
