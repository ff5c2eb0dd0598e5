"""What a child is given when it is started: where it sits, and what it is to do there."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from enum import StrEnum
from multiprocessing.connection import Connection
from pathlib import Path

from django_cluster.cluster.channel import is_replaced
from django_cluster.cluster.scoreboard import ORDER, Order, Scoreboard
from django_cluster.cluster.wire import Address


class Role(StrEnum):
    """In the order in which they are started."""

    MONITOR = "monitor"
    PUSHER = "pusher"
    WORKER = "worker"
    SCHEDULER = "scheduler"
    NOTIFIER = "notifier"
    """Started later, when there is something to call."""


def name_of(role: Role, index: int) -> str:
    """For people: workers are counted from 1."""
    return f"{role} {index + 1}" if role is Role.WORKER else str(role)


def signature_of(role: Role, index: int, pid: int) -> str:
    """Who has done something, as it stands in rows and reports: the same whether it says so itself or died of it."""
    return f"{name_of(role, index)} ({os.uname().nodename}:{pid})"


ROLES = tuple(Role)
POST_BITS = 4


def who_sits(post: int) -> tuple[Role, int]:
    """Role and index from their word on the scoreboard."""
    return ROLES[post & (1 << POST_BITS) - 1], post >> POST_BITS


@dataclass(frozen=True, slots=True)
class Folder:
    """The private folder of one running cluster: its scoreboard and its two sockets."""

    path: Path
    key: bytes = field(repr=False)
    rows: int
    cluster: str = ""
    """The id of this run of the cluster: a UUID."""

    @property
    def jobs(self) -> Address:
        """Where the pusher listens."""
        return Address(self._inside("jobs"), self.key)

    @property
    def reports(self) -> Address:
        """Where the monitor listens."""
        return Address(self._inside("reports"), self.key)

    @property
    def board_path(self) -> str:
        return self._inside("scoreboard")

    def _inside(self, name: str) -> str:
        """Text: every child needs these, and what it takes to join a ``Path`` would be copied for each of them."""
        return os.path.join(self.path, name)

    def remove(self) -> None:
        """Done by the sentinel, or by the last of its orphans."""
        shutil.rmtree(self.path, ignore_errors=True)

    def open_board(self) -> Scoreboard:
        return Scoreboard(self.board_path, self.rows)


@dataclass(frozen=True, slots=True)
class Seat:
    """One life of one child. A replacement gets a new seat, with a new number and another row."""

    role: Role
    index: int
    """Which of its role, from 0."""
    number: int
    """Unique in the life of the cluster, growing."""
    row: int
    folder: Folder
    cpus: tuple[int, ...] = ()
    own_group: bool = False
    """Whether it leads a process group of its own, so that what its tasks start can be ended with it."""

    @property
    def name(self) -> str:
        return name_of(self.role, self.index)

    @property
    def post(self) -> int:
        """Role and index as one word, for the scoreboard."""
        return self.index << POST_BITS | ROLES.index(self.role)


class Orders:
    """The sentinel's voice in a child: a pipe on which one byte means *leave*, and its end that nobody guards us."""

    def __init__(self, pipe: Connection, board: Scoreboard, row: int) -> None:
        self._pipe = pipe
        os.set_blocking(pipe.fileno(), False)
        self._inode = os.fstat(pipe.fileno()).st_ino
        self._board = board
        self._row = row
        self.orphaned = False
        self.deaf = False
        """Whether the pipe is left alone: a task has replaced it. The scoreboard still says what is wanted."""

    def fileno(self) -> int:
        return self._pipe.fileno()

    @property
    def replaced(self) -> bool:
        """Whether a task has put another file under the descriptor of the pipe."""
        return is_replaced(self._pipe.fileno(), self._inode)

    @property
    def leave(self) -> bool:
        """Whether to finish and go."""
        self._look()
        return self.orphaned or self._board.get(self._row, ORDER) == Order.LEAVE

    def _look(self) -> None:
        """Not by ``Connection.poll``, which costs more than many a task, and this is asked again and again."""
        if self.deaf:
            return
        try:
            while os.read(self._pipe.fileno(), 64):
                pass
            self.orphaned = True
        except BlockingIOError:
            pass
        except OSError:
            self.orphaned = True
