"""What a child is given when it is started: where it sits, and what it is to do there."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from enum import StrEnum
from multiprocessing.connection import Connection
from pathlib import Path

from django_cluster.cluster.ipc.channel import is_replaced
from django_cluster.cluster.ipc.scoreboard import COMMAND, ProcessCommand, Scoreboard
from django_cluster.cluster.ipc.wire import SocketAddress


class ProcessRole(StrEnum):
    """In the order in which they are started."""

    MONITOR = "monitor"
    PUSHER = "pusher"
    WORKER = "worker"
    SCHEDULER = "scheduler"
    NOTIFIER = "notifier"
    """Started later, when there is something to call."""


def process_name(role: ProcessRole, index: int) -> str:
    """For people: workers are counted from 1."""
    return f"{role} {index + 1}" if role is ProcessRole.WORKER else str(role)


def process_signature(role: ProcessRole, index: int, pid: int) -> str:
    """Who has done something, as it stands in rows and reports: the same whether it says so itself or died of it."""
    return f"{process_name(role, index)} ({os.uname().nodename}:{pid})"


ROLES = tuple(ProcessRole)
ROLE_BITS = 4


def decode_role(role_code: int) -> tuple[ProcessRole, int]:
    """ProcessRole and index from their word on the scoreboard."""
    return ROLES[role_code & (1 << ROLE_BITS) - 1], role_code >> ROLE_BITS


@dataclass(frozen=True, slots=True)
class RuntimeDir:
    """The runtime directory of one running cluster: its scoreboard and its two sockets."""

    path: Path
    key: bytes = field(repr=False)
    rows: int
    cluster: str = ""
    """The id of this run of the cluster: a UUID."""

    @property
    def pusher_socket(self) -> SocketAddress:
        """Where the pusher listens."""
        return SocketAddress(self._inside("pusher"), self.key)

    @property
    def monitor_socket(self) -> SocketAddress:
        """Where the monitor listens."""
        return SocketAddress(self._inside("monitor"), self.key)

    @property
    def scoreboard_path(self) -> str:
        return self._inside("scoreboard")

    def _inside(self, name: str) -> str:
        """Text: every child needs these, and what it takes to join a ``Path`` would be copied for each of them."""
        return os.path.join(self.path, name)

    def remove(self) -> None:
        """Done by the sentinel, or by the last of its orphans."""
        shutil.rmtree(self.path, ignore_errors=True)

    def open_scoreboard(self) -> Scoreboard:
        return Scoreboard(self.scoreboard_path, self.rows)


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One life of one child. A replacement gets a new incarnation, with a new number and another row."""

    role: ProcessRole
    index: int
    """Which of its role, from 0."""
    number: int
    """Unique in the life of the cluster, growing."""
    row: int
    runtime_dir: RuntimeDir
    cpus: tuple[int, ...] = ()
    own_group: bool = False
    """Whether it leads a process group of its own, so that what its tasks start can be ended with it."""

    @property
    def name(self) -> str:
        return process_name(self.role, self.index)

    @property
    def role_code(self) -> int:
        """ProcessRole and index as one word, for the scoreboard."""
        return self.index << ROLE_BITS | ROLES.index(self.role)


class ControlPipe:
    """The sentinel's voice in a child: a pipe on which one byte means *leave*, and its end that nobody guards us."""

    def __init__(self, pipe: Connection, board: Scoreboard, row: int) -> None:
        self._pipe = pipe
        os.set_blocking(pipe.fileno(), False)
        self._inode = os.fstat(pipe.fileno()).st_ino
        self._board = board
        self._row = row
        self.orphaned = False
        self.ignored = False
        """Whether the pipe is left alone: a task has replaced it. The scoreboard still says what is wanted."""

    def fileno(self) -> int:
        return self._pipe.fileno()

    @property
    def replaced(self) -> bool:
        """Whether a task has put another file under the descriptor of the pipe."""
        return is_replaced(self._pipe.fileno(), self._inode)

    @property
    def stop_requested(self) -> bool:
        """Whether to finish and go."""
        self._read()
        return self.orphaned or self._board.get(self._row, COMMAND) == ProcessCommand.STOP

    def _read(self) -> None:
        """Not by ``Connection.poll``, which costs more than many a task, and this is asked again and again."""
        if self.ignored:
            return
        try:
            while os.read(self._pipe.fileno(), 64):
                pass
            self.orphaned = True
        except BlockingIOError:
            pass
        except OSError:
            self.orphaned = True
