"""A node of Disque of our own: a small program that speaks its protocol, because Debian has no Disque."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any, ClassVar

from tests.servers.base import Server, free_port


class DisqueServer(Server):
    """A process of its own, so that it can be paused and killed; a restart forgets everything."""

    name: ClassVar[str] = "disque"
    programs: ClassVar[tuple[str, ...]] = ()
    drivers: ClassVar[tuple[str, ...]] = ("redis",)
    package: ClassVar[str] = "none; pip install redis"

    def __init__(self, password: str = "secret for tests") -> None:
        super().__init__()
        self.port, self.password = free_port(), password

    @property
    def node(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def options(self) -> dict[str, Any]:
        """As the adapter is given them."""
        return {"nodes": (self.node,), "password": self.password}

    @property
    def settings(self) -> dict[str, Any]:
        """As ``Q_CLUSTER`` has them."""
        return {"disque_nodes": [self.node], "disque_auth": self.password}

    def prepare(self) -> None:
        """It keeps nothing on disk."""

    def command(self) -> list[str]:
        return [sys.executable, str(Path(__file__).with_name("disque_main.py")), str(self.port), self.password]

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
