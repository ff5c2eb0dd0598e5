"""How a process hears that it is to stop, and that its sentinel is dead."""

from __future__ import annotations

import os
import signal
from multiprocessing.connection import Connection

from django_cluster.cluster.ipc.channel import is_replaced
from django_cluster.cluster.ipc.process_row import ProcessCommand
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.words import COMMAND

SENTINEL_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that may be sent to the whole process group, and that only the sentinel acts on."""


class ControlPipe:
    """The reading end of a pipe from the sentinel: a byte means that the process should look at its command on the
    scoreboard, the end of the pipe that the sentinel is dead."""

    def __init__(self, pipe: Connection, board: Scoreboard, row: int) -> None:
        self._pipe = pipe
        os.set_blocking(pipe.fileno(), False)
        self._inode = os.fstat(pipe.fileno()).st_ino
        self._board = board
        self._row = row
        self.orphaned = False
        """Whether the sentinel is dead."""
        self.ignored = False
        """Whether the pipe is no longer read, because a task has replaced it. The scoreboard still has the command."""

    def fileno(self) -> int:
        return self._pipe.fileno()

    @property
    def replaced(self) -> bool:
        """Whether a task has put another file under the descriptor of the pipe."""
        return is_replaced(self._pipe.fileno(), self._inode)

    @property
    def stop_requested(self) -> bool:
        """Whether the process is to finish what it does, and exit."""
        self._read()
        return self.orphaned or self._board.get(self._row, COMMAND) == ProcessCommand.STOP

    def _read(self) -> None:
        """Without ``Connection.poll``: it takes longer than many a task, and this is called all the time."""
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
