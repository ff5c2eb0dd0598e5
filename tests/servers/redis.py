"""A Redis of our own, on a free port and on a unix socket."""

from __future__ import annotations

from typing import ClassVar

from tests.servers.base import Server, free_port


class RedisServer(Server):
    """``redis-server`` without persistence, or with an append-only file (``aof=True``) that survives a kill."""

    name: ClassVar[str] = "redis"
    programs: ClassVar[tuple[str, ...]] = ("redis-server", "redis-cli")
    drivers: ClassVar[tuple[str, ...]] = ("redis",)
    package: ClassVar[str] = "redis-server"

    def __init__(self, *, aof: bool = False) -> None:
        super().__init__()
        self.aof = aof
        self.port = free_port()
        self.socket = self.folder / "redis.sock"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        """Redis makes what it needs."""

    def command(self) -> list[str]:
        command = [self.program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--unixsocket", str(self.socket), "--dir", str(self.folder), "--save", "", "--daemonize", "no"]
        # Every write reaches the disk before it is answered: what the client was told, a power cut cannot unsay.
        return command + (["--appendonly", "yes", "--appendfsync", "always"] if self.aof else [])

    def answers(self) -> bool:
        # "-e": an error, such as "still loading", is an exit code and not only a line of text.
        return self.succeeds(self.program("redis-cli"), "-e", "-p", str(self.port), "ping")

    def flush(self) -> None:
        """Forget everything, so that the next test finds an empty server."""
        self.run(self.program("redis-cli"), "-e", "-p", str(self.port), "flushall")
