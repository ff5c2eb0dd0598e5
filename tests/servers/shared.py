"""One server for all processes of a test run: the first that needs it starts it, and it ends with the last of them.

For a server that is dear to start (RabbitMQ: seven seconds of a core), and that no test hurts.
"""

from __future__ import annotations

import copy
import fcntl
import os
import pickle
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from tests.servers.base import BOOT_TIMEOUT, Server

S = TypeVar("S", bound=Server)

_left_running: list[Server] = []
"""Servers that others still use when this process ends; kept, because it is no fault that they run."""


@contextmanager
def shared(kind: type[S], folder: Path) -> Iterator[S]:
    """The server of this kind that runs for whoever names the same folder. It can be talked to, and not be hurt.

    Its watchdog reads from a named pipe that each of its users holds open: it ends with the last, even a killed one.
    """
    with _locked(folder / f"{kind.name}.lock"):
        note = folder / f"{kind.name}.pickle"
        server, lifeline = _join(kind, note) or _start(kind, note)
        user = folder / f"{kind.name}.user.{os.getpid()}"
        user.touch()
    try:
        yield server
    finally:
        with _locked(folder / f"{kind.name}.lock"):
            user.unlink()
            os.close(lifeline)
            if any(_lives(other) for other in folder.glob(f"{kind.name}.user.*")):
                _left_running.append(server)
            else:
                note.unlink()
                _see_it_end(server)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _start(kind: type[S], note: Path) -> tuple[S, int]:
    """A new server, and our end of its lifeline."""
    server = kind()
    pipe = server.folder / "lifeline"
    os.mkfifo(pipe)
    # A pipe without a writer cannot be opened for reading, unless one does not wait; the watchdog has to wait again.
    server.lifeline = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    ours = os.open(pipe, os.O_WRONLY)
    os.set_blocking(server.lifeline, True)
    try:
        server.start()
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(server.lifeline)
    for_others = copy.copy(server)
    for_others.process = for_others.watchdog = for_others.lifeline = None
    note.write_bytes(pickle.dumps(for_others))
    return server, ours


def _join(kind: type[S], note: Path) -> tuple[S, int] | None:
    """The server that somebody else has started, if its watchdog still listens."""
    with suppress(OSError):
        server = pickle.loads(note.read_bytes())
        assert isinstance(server, kind)
        return server, os.open(server.folder / "lifeline", os.O_WRONLY | os.O_NONBLOCK)
    return None


def _lives(user: Path) -> bool:
    with suppress(ProcessLookupError):
        os.kill(int(user.suffix[1:]), 0)
        return True
    return False


def _see_it_end(server: Server) -> None:
    """The watchdog does it; whoever has started the server buries it."""
    if server.process is not None:
        server.process.wait(BOOT_TIMEOUT)
    deadline = time.monotonic() + BOOT_TIMEOUT
    while server.folder.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    server.stop()
