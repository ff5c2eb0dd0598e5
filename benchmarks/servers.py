"""The private servers of a run, with real durability, and what they say of themselves."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
from redis import Redis

from benchmarks.measure import Stat, processes
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer

SQLITE_OPTIONS = {
    "timeout": 20,
    "transaction_mode": "IMMEDIATE",
    "init_command": "PRAGMA journal_mode=WAL;",
}
"""As everybody recommends for SQLite under Django; ``synchronous`` stays FULL."""

STATISTICS_DELAY = 10.5
"""Seconds until PostgreSQL's counters tell all that has happened: a process of the server that has nothing more to do
tells its last second up to ten seconds later (``PGSTAT_IDLE_INTERVAL`` in its source)."""


class BenchPostgres(PostgresServer):
    """The tests' server with the memory of a small production server; ``fsync`` and all that is on."""

    def command(self) -> list[str]:
        options = {"shared_buffers": "256MB", "max_connections": "200", "max_wal_size": "4GB"}
        return super().command() + [part for name, value in options.items() for part in ("-c", f"{name}={value}")]


class Servers:
    """A Redis, a PostgreSQL and a folder for SQLite files. Databases are copied from templates."""

    def __init__(self) -> None:
        self.redis = RedisServer()
        self.postgres = BenchPostgres()

    def __enter__(self) -> Servers:
        self.redis.start()
        self.postgres.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.redis.stop()
        self.postgres.stop()

    # ── databases ────────────────────────────────────────────────────────────────────────────────

    @property
    def redis_address(self) -> str:
        return f"redis://127.0.0.1:{self.redis.port}"

    def entry(self, kind: str, name: str) -> dict[str, Any]:
        """For Django's ``DATABASES``."""
        if kind == "postgres":
            return self.postgres.database(name)
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": str(self._file(name)),
            "OPTIONS": SQLITE_OPTIONS,
        }

    def create(self, kind: str, name: str) -> None:
        """An empty database."""
        self.drop(kind, name)
        if kind == "postgres":
            self.postgres.create_database(name)

    def copy(self, kind: str, template: str, name: str) -> None:
        self.drop(kind, name)
        if kind == "postgres":
            with self._connection() as connection:
                connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
            return
        source = sqlite3.connect(self._file(template))
        source.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        source.close()
        shutil.copy(self._file(template), self._file(name))

    def drop(self, kind: str, name: str) -> None:
        if kind == "postgres":
            self.postgres.drop_database(name)
        else:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{self._file(name)}{suffix}").unlink(missing_ok=True)

    def calm(self) -> None:
        """Let nobody pay for what the run before has left: Redis empty, PostgreSQL's buffers on disk."""
        Redis(port=self.redis.port).flushall()
        with self._connection() as connection:
            connection.execute("CHECKPOINT")

    def tidy(self, database: Mapping[str, Any]) -> None:
        """Do at once what a database does some time with what was sent: a million new rows would be looked at, and
        written to their place, in the midst of a measurement of a few thousand."""
        if database["ENGINE"].endswith("postgresql"):
            with self._connection(database["NAME"]) as connection:
                connection.execute("VACUUM (ANALYZE)")
                connection.execute("CHECKPOINT")
        elif database["ENGINE"].endswith("sqlite3"):
            with closing(sqlite3.connect(database["NAME"])) as file:
                file.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _file(self, name: str) -> Path:
        # Redis's folder, because that is ours; PostgreSQL's belongs to another account.
        return self.redis.folder / f"{name}.sqlite3"

    def _connection(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(host=str(self.postgres.folder), user="postgres", dbname=database, autocommit=True)

    # ── counters ─────────────────────────────────────────────────────────────────────────────────

    def cpu_seconds(self) -> float:
        """Of both, with all of their children."""
        roots = {server.process.pid for server in (self.redis, self.postgres) if server.process}
        return sum(each.cpu for each in descendants(list(processes()), roots))

    def questions(self, database: Mapping[str, Any]) -> int:
        """How often Redis has been written to, and the transactions of this PostgreSQL database.

        Redis counts the commands inside of a script too, and those nobody has sent.
        """
        commands: Any = Redis(port=self.redis.port).info("stats")
        total = int(commands["total_reads_processed"])
        if database["ENGINE"].endswith("postgresql"):
            query = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s"
            with self._connection() as connection:
                row = connection.execute(query, [database["NAME"]]).fetchone()
            total += int(row[0]) if row else 0
        return total

    def versions(self) -> dict[str, str]:
        programs = {"Redis": self.redis.program("redis-server"), "PostgreSQL": self.postgres.program("postgres")}
        found = {name: output_of(program, "--version") for name, program in programs.items()}
        return {**{name: number_in(text) for name, text in found.items()}, "SQLite": sqlite3.sqlite_version}


def descendants(everybody: list[Stat], roots: set[int]) -> list[Stat]:
    """The roots and all below them."""
    family = set(roots)
    size = 0
    while len(family) != size:
        size = len(family)
        family |= {each.pid for each in everybody if each.parent in family}
    return [each for each in everybody if each.pid in family]


def number_in(text: str) -> str:
    """The first thing in a text that looks like a version."""
    found = re.search(r"\d+(\.\d+)+", text)
    return found[0] if found else text


def output_of(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603  ours
