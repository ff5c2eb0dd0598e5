"""A RabbitMQ of our own: one node, with its own epmd, on free ports."""

from __future__ import annotations

import os
import socket
from typing import ClassVar

from tests.servers.base import Server, free_port

SCRIPT = """
epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1 &
exec rabbitmq-server
"""
"""Erlang would start an epmd that outlives the node; a child of ours ends with it."""


class RabbitServer(Server):
    """What was confirmed is on disk, so a kill forgets nothing.

    ``lines``, set before the start, are added to its configuration.
    """

    name: ClassVar[str] = "rabbitmq"
    programs: ClassVar[tuple[str, ...]] = ("rabbitmq-server", "epmd")
    drivers: ClassVar[tuple[str, ...]] = ("amqp",)
    package: ClassVar[str] = "rabbitmq-server"
    account: ClassVar[str | None] = "rabbitmq"
    # The script of the same name on Debian's PATH changes the user and the folder; this is the program behind it.
    extra_paths: ClassVar[tuple[str, ...]] = ("usr/lib/rabbitmq/bin", "opt/homebrew/sbin")

    def __init__(self) -> None:
        super().__init__()
        self.lines: tuple[str, ...] = ()
        self.port, self.dist_port, self.epmd_port = free_port(), free_port(), free_port()

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def prepare(self) -> None:
        (self.folder / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            "log.console = true\nlog.console.level = warning\nlog.file = false\n"
            "disk_free_limit.absolute = 1MB\n"  # disks of test machines are small, and stopping would not help
            + "".join(f"{line}\n" for line in self.lines)
        )
        (self.folder / "plugins").write_text("[].\n")

    def variables(self) -> dict[str, str]:
        folder = str(self.folder)
        return {
            "PATH": f"/usr/lib/rabbitmq/bin:{os.environ['PATH']}",
            "HOME": folder,
            "LC_ALL": "C.UTF-8",
            "RUNNING_UNDER_SYSTEMD": "1",  # the script becomes the server, instead of watching over it
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"tests-{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self.dist_port),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": folder,
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none",
        }

    def remembers_its_queues(self) -> bool:
        """Whether it would know each quorum queue after a kill: new ones are written down a moment later.

        A table of Erlang's ``dets`` says in the third word of its file whether all has been written.
        """
        tables = list(self.folder.glob("mnesia/*/quorum/*/names.dets"))
        return bool(tables) and all(file.read_bytes()[8:12] == b"\0\0\0\1" for file in tables)

    def command(self) -> list[str]:
        words = [f"{name}={value}" for name, value in self.variables().items()]
        return ["/usr/bin/env", "-i", *words, "/bin/sh", "-c", SCRIPT]

    def answers(self) -> bool:
        """The port is opened when everything else is ready."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
