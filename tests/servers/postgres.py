"""A PostgreSQL of our own, on a unix socket."""

from __future__ import annotations

import signal
from typing import Any, ClassVar

from tests.servers.base import Server


class PostgresServer(Server):
    """A small cluster with real durability (``fsync`` on): what we promise is tested as it is run."""

    name: ClassVar[str] = "postgres"
    programs: ClassVar[tuple[str, ...]] = ("postgres", "initdb", "psql", "pg_isready")
    drivers: ClassVar[tuple[str, ...]] = ("psycopg",)
    package: ClassVar[str] = "postgresql"
    account: ClassVar[str | None] = "postgres"
    farewell: ClassVar[signal.Signals] = signal.SIGINT
    extra_paths: ClassVar[tuple[str, ...]] = ("usr/lib/postgresql/*/bin", "opt/homebrew/opt/postgresql*/bin")

    def prepare(self) -> None:
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        self.run(self.program("initdb"), *options, "--pgdata", str(self.folder / "data"))

    def command(self) -> list[str]:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "shared_buffers": "32MB",
            "max_connections": "100",
        }
        pairs = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [self.program("postgres"), "-D", str(self.folder / "data"), *pairs]

    def answers(self) -> bool:
        return self.succeeds(self.program("pg_isready"), "--host", str(self.folder))

    def create_database(self, name: str, template: str = "template1") -> None:
        """``template``: a database that nobody is connected to, whose tables the new one has, too."""
        self._sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    def drop_database(self, name: str) -> None:
        self._sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def database(self, name: str = "postgres") -> dict[str, Any]:
        """An entry for Django's ``DATABASES``."""
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "USER": "postgres",
            "HOST": str(self.folder),
        }

    def _sql(self, statement: str) -> None:
        client = [self.program("psql"), "--no-psqlrc", "--quiet", "--username=postgres", "--dbname=postgres"]
        self.run(*client, "--set=ON_ERROR_STOP=1", "--host", str(self.folder), "--command", statement)
