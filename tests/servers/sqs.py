"""An SQS of our own: moto's, which speaks the protocol over HTTP and keeps its queues in memory."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from typing import Any, ClassVar

from tests.servers.base import Server, free_port

os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")  # nobody asks a cloud that is not there for credentials


class SqsServer(Server):
    """``moto_server`` in a process of its own, so that it can be paused and killed; a restart forgets everything."""

    name: ClassVar[str] = "sqs"
    programs: ClassVar[tuple[str, ...]] = ()
    drivers: ClassVar[tuple[str, ...]] = ("boto3", "moto", "flask")
    package: ClassVar[str] = "none; pip install moto[server]"

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def options(self) -> dict[str, Any]:
        """As ``Q_CLUSTER["sqs"]`` has them."""
        return {
            "endpoint_url": self.url,
            "aws_region": "eu-west-1",
            "aws_access_key_id": "tests",
            "aws_secret_access_key": "secret for tests",
        }

    def prepare(self) -> None:
        """It keeps nothing on disk."""

    def command(self) -> list[str]:
        main = Path(__file__).with_name("moto_main.py")
        return [sys.executable, "-W", "ignore", str(main), "-H", "127.0.0.1", "-p", str(self.port)]

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
