"""An IronMQ of our own: a small program that speaks version 3 of its interface."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any, ClassVar

from tests.servers.base import Server, free_port


class IronServer(Server):
    """A process of its own, so that it can be paused and killed; a restart forgets everything."""

    name: ClassVar[str] = "ironmq"
    programs: ClassVar[tuple[str, ...]] = ()
    drivers: ClassVar[tuple[str, ...]] = ("urllib3",)
    package: ClassVar[str] = "none; pip install urllib3"

    token: ClassVar[str] = "secret for tests"
    project: ClassVar[str] = "500f7b0000000000b0f302e9"

    def __init__(self, shortest: int = 1) -> None:
        super().__init__()
        self.port, self.shortest = free_port(), shortest

    @property
    def options(self) -> dict[str, Any]:
        """As ``Q_CLUSTER["iron_mq"]`` has them."""
        return {
            "protocol": "http",
            "host": "127.0.0.1",
            "port": self.port,
            "project_id": self.project,
            "token": self.token,
            "minimum_timeout": self.shortest,
        }

    def prepare(self) -> None:
        """It keeps nothing on disk."""

    def command(self) -> list[str]:
        main = Path(__file__).with_name("ironmq_main.py")
        return [sys.executable, str(main), str(self.port), self.project, self.token, str(self.shortest)]

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
