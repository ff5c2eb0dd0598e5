"""A pgbouncer of our own, in transaction mode, before a PostgreSQL."""

from __future__ import annotations

import shutil
from typing import Any, ClassVar

from tests.servers.base import Server, free_port
from tests.servers.postgres import PostgresServer


class PgBouncer(Server):
    """Lends a session of the server for one transaction at a time, out of a pool of ``sessions`` of them."""

    name: ClassVar[str] = "pgbouncer"
    programs: ClassVar[tuple[str, ...]] = ("pgbouncer", *PostgresServer.programs)
    drivers: ClassVar[tuple[str, ...]] = PostgresServer.drivers
    package: ClassVar[str] = "pgbouncer"
    account: ClassVar[str | None] = "postgres"
    extra_paths: ClassVar[tuple[str, ...]] = (*PostgresServer.extra_paths, "usr/sbin")

    def __init__(self, postgres: PostgresServer | None = None, *, sessions: int = 4) -> None:
        """Without a server behind it, it answers and can do nothing."""
        super().__init__()
        self.postgres = postgres
        self.sessions = sessions
        self.port = free_port()

    def prepare(self) -> None:
        (self.folder / "users").write_text('"postgres" ""\n')
        settings = {
            "listen_port": self.port,
            "unix_socket_dir": self.folder,
            "auth_type": "trust",
            "auth_file": self.folder / "users",
            "pool_mode": "transaction",
            "default_pool_size": self.sessions,
            "max_client_conn": 200,
        }
        place = self.postgres.folder if self.postgres else self.folder / "nowhere"
        lines = ["[databases]", f"* = host={place} user=postgres", "[pgbouncer]"]
        lines += [f"{name} = {value}" for name, value in settings.items()]
        file = self.folder / "pgbouncer.ini"
        file.write_text("\n".join([*lines, ""]))
        if self.user:
            shutil.chown(file, self.user)

    def command(self) -> list[str]:
        return [self.program("pgbouncer"), str(self.folder / "pgbouncer.ini")]

    def answers(self) -> bool:
        # Asked for its own console: it answers for that one whether or not the server behind it does.
        client = [self.program("pg_isready"), "--dbname=pgbouncer", "--username=pgbouncer"]
        return self.succeeds(*client, "--host", str(self.folder), "--port", str(self.port))

    def database(self, name: str = "postgres") -> dict[str, Any]:
        """An entry for Django's ``DATABASES``, as Django's documentation wants it for such a pooler."""
        assert self.postgres is not None
        place = {"HOST": str(self.folder), "PORT": str(self.port)}
        return {**self.postgres.database(name), **place, "DISABLE_SERVER_SIDE_CURSORS": True}
