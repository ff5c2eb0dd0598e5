"""The runtime directory of a cluster as each of its processes knows it: the scoreboard and two sockets."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from django_cluster.cluster.ipc.scoreboard import Scoreboard


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """Where a server listens, and the key that a client has to send first."""

    path: str | os.PathLike[str]
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class RuntimeDir:
    """The paths in the runtime directory of one running cluster."""

    path: Path
    key: bytes = field(repr=False)
    """The key of its sockets."""
    rows: int
    """How many rows its scoreboard has."""
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
        """A path as text: every child needs it, and each would have to load what it takes to join a ``Path``."""
        return os.path.join(self.path, name)

    def remove(self) -> None:
        """Called by the sentinel, or by the last process that is left without one."""
        shutil.rmtree(self.path, ignore_errors=True)

    def open_scoreboard(self) -> Scoreboard:
        return Scoreboard(self.scoreboard_path, self.rows)
