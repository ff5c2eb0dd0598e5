"""A cluster on a harness: its folder, its scoreboard and its control, and actors who wait for their cue.

Every role takes its turns in the test's own process, over real sockets. Where a test plays a role itself, it
holds the bare ``IpcServer`` or ``IpcClient``, and says the messages one by one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import pytest

from django_cluster.brokers import memory
from django_cluster.brokers.capabilities import Capabilities
from django_cluster.brokers.memory import MemoryBroker
from django_cluster.brokers.messages import Message
from django_cluster.cluster.ipc.client import IpcClient
from django_cluster.cluster.ipc.control_pipe import ControlPipe
from django_cluster.cluster.ipc.incarnation import Incarnation, ProcessRole
from django_cluster.cluster.ipc.process_row import Cause, ProcessCommand
from django_cluster.cluster.ipc.runtime_dir import RuntimeDir
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.server import IpcServer, Received
from django_cluster.cluster.ipc.words import CAUSE, COMMAND
from django_cluster.cluster.roles import monitor as monitor_module
from django_cluster.cluster.roles import pusher as pusher_module
from django_cluster.cluster.roles import worker as worker_module
from django_cluster.core.codec import Codec
from django_cluster.core.messages import TaskHeader, TaskOptions, TaskPackage
from tests.conftest import make_settings, wait_until

SETTINGS = make_settings(broker={"poll": 0.001, "lease": 60.0})
CODEC = Codec(SETTINGS.signing)
ROWS = 32
Kind = TypeVar("Kind")


class PolledBroker(MemoryBroker):
    """Never waits inside ``lease``, where nobody else on the harness could take a turn."""

    capabilities = Capabilities()


class ClusterHarness:
    """Incarnations for any number of actors."""

    def __init__(self, path: Path) -> None:
        self.runtime_dir = RuntimeDir(path, b"the key of this harness", ROWS)
        self.board = Scoreboard.create(self.runtime_dir.scoreboard_path, ROWS)
        self.board.set_leased_until(math.inf)  # as if a pusher renewed in time; where one takes part, it does
        self._pipes: dict[int, tuple[Connection, Connection]] = {}
        self._incarnations = 0
        self._lines: list[IpcClient | IpcServer] = []

    def incarnation(self, role: ProcessRole) -> Incarnation:
        """A new life, as the sentinel prepares it."""
        self._incarnations += 1
        self._pipes[self._incarnations] = Pipe()
        incarnation = Incarnation(role, 0, self._incarnations, self._incarnations, self.runtime_dir)
        self.board.reset_row(incarnation.row, incarnation.number, incarnation.role_code)
        return incarnation

    def control(self, incarnation: Incarnation) -> ControlPipe:
        return ControlPipe(self._pipes[incarnation.number][1], self.board, incarnation.row)

    def request_stop(self, incarnation: Incarnation) -> None:
        self.board.set(incarnation.row, COMMAND, ProcessCommand.STOP)
        os.write(self._pipes[incarnation.number][0].fileno(), b"!")

    def orphan(self, incarnation: Incarnation) -> None:
        """The sentinel dies."""
        self._pipes[incarnation.number][0].close()

    def record_exit(self, incarnation: Incarnation, code: int = -9, cause: Cause = Cause.NONE) -> None:
        """What the sentinel writes when a child has ended."""
        self.board.set(incarnation.row, CAUSE, cause)
        self.board.set_exit(incarnation.row, code)

    # ── bare ends, for a test that plays a role itself ───────────────────────────────────────────

    def connect_to_pusher(self) -> IpcClient:
        return self._connected(IpcClient(self.runtime_dir.pusher_socket))

    def connect_to_monitor(self) -> IpcClient:
        return self._connected(IpcClient(self.runtime_dir.monitor_socket))

    def _connected(self, line: IpcClient) -> IpcClient:
        assert line.connect()
        self._lines.append(line)
        return line

    def pusher_server(self) -> IpcServer:
        return self._opened(IpcServer(self.runtime_dir.pusher_socket))

    def monitor_server(self) -> IpcServer:
        return self._opened(IpcServer(self.runtime_dir.monitor_socket))

    def _opened(self, server: IpcServer) -> IpcServer:
        self._lines.append(server)
        return server

    def close(self) -> None:
        for line in self._lines:
            line.close()
        for pipe in self._pipes.values():
            for end in pipe:
                end.close()
        self.board.close()


class MessageLog:
    """Remembers the messages that arrive at one end of a connection."""

    def __init__(self, end: IpcClient | IpcServer) -> None:
        self._end = end
        self.received: list[Received] = []
        self.messages: list[Any] = []

    def read(self) -> list[Any]:
        """All messages that have arrived so far."""
        if isinstance(self._end, IpcClient):
            self.messages += self._end.receive()
        else:
            # The first poll accepts a client, and only a later one receives its messages.
            news = [received for _ in range(3) for received in self._end.poll(0)]
            self.received += news
            self.messages += [message for each in news for message in each.messages]
        return self.messages

    def of(self, kind: type[Kind]) -> list[Kind]:
        """The messages of this type that have arrived so far."""
        return [each for each in self.read() if isinstance(each, kind)]


def take_turns(*turns: Callable[[], Any], until: Callable[[], object], because: str = "") -> None:
    """Everybody takes turns until something has come about."""

    def round_of_turns() -> object:
        for turn in turns:
            turn()
        return until()

    wait_until(round_of_turns, within=10, because=because)


def package(number: int, func: str = "tests.sample.tasks.echo", **options: Any) -> TaskPackage:
    header = TaskHeader(
        id=f"{number:032x}", name=f"task {number}", func=func, enqueued_at=1.0, options=TaskOptions(**options)
    )
    return TaskPackage(header=header, args=(number,))


def body(number: int, func: str = "tests.sample.tasks.echo", **options: Any) -> bytes:
    return CODEC.verify(CODEC.dumps(package(number, func, **options)))


def enqueue(broker: MemoryBroker, *numbers: int, codec: Codec = CODEC) -> None:
    broker.enqueue([Message(codec.dumps(package(number))) for number in numbers])


def ids_of(jobs: Sequence[Any]) -> list[int]:
    """The numbers that ``package`` was given."""
    return [int(CODEC.split(job[1])[0].id, 16) for job in jobs]


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ClusterHarness]:
    for module in (monitor_module, pusher_module, worker_module):
        monkeypatch.setattr(module, "MAX_WAIT_SECONDS", 0.002)
    memory.reset()
    harness = ClusterHarness(tmp_path)
    yield harness
    harness.close()
    memory.reset()


@pytest.fixture
def broker() -> PolledBroker:
    return PolledBroker(replace(SETTINGS.broker))
