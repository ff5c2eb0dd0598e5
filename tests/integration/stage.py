"""A cluster on a stage: its folder, its scoreboard and its orders, and actors who wait for their cue.

Every role takes its turns in the test's own process, over real sockets. Where a test plays a role itself, it
holds the bare ``Hub`` or ``Line``, and says the words one by one.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from django_cluster.brokers import memory
from django_cluster.brokers.base import Capabilities, Message
from django_cluster.brokers.memory import MemoryBroker
from django_cluster.cluster import monitor as monitor_module
from django_cluster.cluster import pusher as pusher_module
from django_cluster.cluster import worker as worker_module
from django_cluster.cluster.channel import Message as Words
from django_cluster.cluster.scoreboard import CAUSE, ORDER, Cause, Order, Scoreboard
from django_cluster.cluster.seat import Folder, Orders, Role, Seat
from django_cluster.cluster.wire import Heard, Hub, Line
from django_cluster.core.codec import Codec
from django_cluster.core.messages import TaskHeader, TaskOptions, TaskPackage
from tests.conftest import make_settings, wait_until

SETTINGS = make_settings(broker={"poll": 0.001, "lease": 60.0})
CODEC = Codec(SETTINGS.signing)
ROWS = 32


class PolledBroker(MemoryBroker):
    """Never waits inside ``lease``, where nobody else on the stage could take a turn."""

    capabilities = Capabilities()


class Stage:
    """Seats for any number of actors."""

    def __init__(self, path: Path) -> None:
        self.folder = Folder(path, b"the key of this stage", ROWS)
        self.board = Scoreboard.create(self.folder.board_path, ROWS)
        self.board.set_leased_until(math.inf)  # as if a pusher renewed in time; where one takes part, it does
        self._pipes: dict[int, tuple[Connection, Connection]] = {}
        self._seats = 0
        self._lines: list[Line | Hub] = []

    def seat(self, role: Role) -> Seat:
        """A new life, as the sentinel prepares it."""
        self._seats += 1
        self._pipes[self._seats] = Pipe()
        seat = Seat(role, 0, self._seats, self._seats, self.folder)
        self.board.clear(seat.row, seat.number, seat.post)
        return seat

    def orders(self, seat: Seat) -> Orders:
        return Orders(self._pipes[seat.number][1], self.board, seat.row)

    def tell_to_leave(self, seat: Seat) -> None:
        self.board.set(seat.row, ORDER, Order.LEAVE)
        os.write(self._pipes[seat.number][0].fileno(), b"!")

    def orphan(self, seat: Seat) -> None:
        """The sentinel dies."""
        self._pipes[seat.number][0].close()

    def note_death(self, seat: Seat, code: int = -9, cause: Cause = Cause.NONE) -> None:
        """What the sentinel writes when a child has ended."""
        self.board.set(seat.row, CAUSE, cause)
        self.board.set_exit(seat.row, code)

    # ── bare ends, for a test that plays a role itself ───────────────────────────────────────────

    def line_to_pusher(self) -> Line:
        return self._connected(Line(self.folder.jobs))

    def line_to_monitor(self) -> Line:
        return self._connected(Line(self.folder.reports))

    def _connected(self, line: Line) -> Line:
        assert line.connect()
        self._lines.append(line)
        return line

    def hub_of_pusher(self) -> Hub:
        return self._opened(Hub(self.folder.jobs))

    def hub_of_monitor(self) -> Hub:
        return self._opened(Hub(self.folder.reports))

    def _opened(self, hub: Hub) -> Hub:
        self._lines.append(hub)
        return hub

    def close(self) -> None:
        for line in self._lines:
            line.close()
        for pipe in self._pipes.values():
            for end in pipe:
                end.close()
        self.board.close()


class Ear:
    """Hears what comes over a bare end, and remembers it."""

    def __init__(self, end: Line | Hub) -> None:
        self._end = end
        self.heard: list[Heard] = []
        self.words: list[Words] = []

    def listen(self) -> list[Words]:
        """Everything that was said so far."""
        if isinstance(self._end, Line):
            self.words += self._end.receive()
        else:
            # The first look lets a caller in, and only a later one hears what he says.
            news = [heard for _ in range(3) for heard in self._end.poll(0)]
            self.heard += news
            self.words += [message for each in news for message in each.messages]
        return self.words

    def named(self, word: str) -> list[Words]:
        """What was said so far under this word."""
        return [each for each in self.listen() if each[0] == word]


def play(*turns: Callable[[], Any], until: Callable[[], object], because: str = "") -> None:
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
    return [int(CODEC.label(job[1])[0].id, 16) for job in jobs]


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    for module in (monitor_module, pusher_module, worker_module):
        monkeypatch.setattr(module, "PAUSE", 0.002)
    memory.reset()
    stage = Stage(tmp_path)
    yield stage
    stage.close()
    memory.reset()


@pytest.fixture
def broker() -> PolledBroker:
    return PolledBroker(replace(SETTINGS.broker))
