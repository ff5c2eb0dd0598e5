"""The floors: what the bare parts can do, with no task queue around them.

A line between two processes, a broker, a database: nothing built on them can be faster than they are.
"""

from __future__ import annotations

import os
import socket
import sqlite3
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psycopg
from redis import Redis

from benchmarks.scenarios import Sizes
from benchmarks.servers import Servers
from benchmarks.timing import time_for
from django_cluster.cluster.ipc.channel import Channel
from django_cluster.cluster.ipc.protocol import Jobs, Recorded, decode, encode
from django_cluster.core.messages import Job

BATCH = 256
FRAME = 64
BODY = b"x" * 250
"""As long as a small signed package."""

TYPES = {
    **dict.fromkeys(("id", "name", "func"), "text"),
    **dict.fromkeys(("args", "result"), "{bytes}"),
    **dict.fromkeys(("worker", "status"), "text"),
    **{"attempt": "int", "final": "bool"},
    **dict.fromkeys(("enqueued", "started", "stopped"), "{moment}"),
    "success": "bool",
}
COLUMNS = tuple(TYPES)
TABLE = f"CREATE TABLE floor ({', '.join(f'{name} {kind}' for name, kind in TYPES.items())}, PRIMARY KEY (id))"
CLAIM = f"SELECT id FROM floor_queue ORDER BY id LIMIT {BATCH} FOR UPDATE SKIP LOCKED"  # noqa: S608  a constant

Numbers = dict[str, float]


def measure_floors(servers: Servers, sizes: Sizes) -> dict[str, Numbers]:
    """By the name of the floor: tasks a second, and microseconds of CPU, ours and the servers'."""
    seconds = min(1.0, sizes.seconds / 2)
    return {
        "line, one job a frame": line(seconds, 1),
        f"line, {FRAME} jobs a frame": line(seconds, FRAME),
        "Redis, RPUSH and BLPOP in turn": redis_singly(servers, seconds),
        f"Redis, RPUSH and LPOP of {BATCH}": redis_batches(servers, seconds),
        f"PostgreSQL, insert {BATCH} and delete them": postgres_queue(servers, seconds),
        f"PostgreSQL, upsert of {BATCH} rows": postgres_rows(servers, seconds),
        f"SQLite, upsert of {BATCH} rows": sqlite_rows(servers, seconds),
    }


def measure(seconds: float, work: Callable[[], Any], each: int, servers: Servers | None = None) -> Numbers:
    servers_cpu = servers.cpu_seconds() if servers else 0.0
    timing, count = time_for(seconds, work, each)
    numbers = {"per_second": timing.per_second, "cpu_us": timing.cpu}
    if servers:
        numbers["servers_cpu_us"] = (servers.cpu_seconds() - servers_cpu) / count * 1e6
    return numbers


# ── the line ─────────────────────────────────────────────────────────────────────────────────────


def line(seconds: float, jobs: int) -> Numbers:
    """Frames to another process and back, as between pusher and worker."""
    near, far = socket.socketpair()
    echo = get_context("fork").Process(target=_echo, args=(near, far), daemon=True)
    echo.start()
    far.close()
    channel = Channel(near)
    frame = encode(Jobs([Job(number, BODY, "receipt", 1) for number in range(jobs)]))

    def exchange() -> None:
        channel.send(frame)
        _wait_for(channel)

    try:
        return measure(seconds, exchange, jobs)
    finally:
        near.close()
        echo.join()


def _echo(near: socket.socket, far: socket.socket) -> None:
    near.close()
    channel = Channel(far)
    alive = True
    while alive:
        far.setblocking(True)
        far.recv(1, socket.MSG_PEEK)
        far.setblocking(False)
        messages, alive = channel.receive()
        for data in messages:
            message: Any = decode(data)
            channel.send(encode(Recorded([job.number for job in message.jobs])))
    os._exit(0)


def _wait_for(channel: Channel) -> None:
    from select import select

    while not channel.receive()[0]:
        select([channel], [], [])


# ── the brokers ──────────────────────────────────────────────────────────────────────────────────


def redis_singly(servers: Servers, seconds: float) -> Numbers:
    client = Redis(unix_socket_path=str(servers.redis.socket))

    def pass_on() -> None:
        client.rpush("floor", BODY)
        client.blpop(["floor"], 1)

    return measure(seconds, pass_on, 1, servers)


def redis_batches(servers: Servers, seconds: float) -> Numbers:
    client = Redis(unix_socket_path=str(servers.redis.socket))
    bodies = [BODY] * BATCH

    def pass_on() -> None:
        client.rpush("floor", *bodies)
        client.lpop("floor", BATCH)

    return measure(seconds, pass_on, BATCH, servers)


def postgres_queue(servers: Servers, seconds: float) -> Numbers:
    with psycopg.connect(host=str(servers.postgres.folder), user="postgres", autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS floor_queue")
        connection.execute("CREATE TABLE floor_queue (id bigserial PRIMARY KEY, payload text)")
        insert = "INSERT INTO floor_queue (payload) SELECT unnest(%s::text[])"
        claim = f"DELETE FROM floor_queue WHERE id IN ({CLAIM}) RETURNING payload"  # noqa: S608  another
        bodies = [BODY.decode()] * BATCH

        def pass_on() -> None:
            connection.execute(insert, [bodies])
            connection.execute(claim).fetchall()

        return measure(seconds, pass_on, BATCH, servers)


# ── the databases ────────────────────────────────────────────────────────────────────────────────


def upsert(mark: str) -> str:
    """One statement for ``BATCH`` rows."""
    row = f"({', '.join([mark] * len(COLUMNS))})"
    changes = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
    into = f"INSERT INTO floor ({', '.join(COLUMNS)}) VALUES {', '.join([row] * BATCH)}"  # noqa: S608
    return f"{into} ON CONFLICT (id) DO UPDATE SET {changes}"


def rows(moment: Any) -> list[Any]:
    """The parameters of ``BATCH`` rows, as one list."""
    found: list[Any] = []
    for _ in range(BATCH):
        found += [os.urandom(16).hex(), "floor-name", "floor.task", b"", b"1", "worker 1", "success", 1, True]
        found += [moment, moment, moment, True]
    return found


def postgres_rows(servers: Servers, seconds: float) -> Numbers:
    from datetime import UTC, datetime

    with psycopg.connect(host=str(servers.postgres.folder), user="postgres", autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS floor")
        connection.execute(TABLE.format(bytes="bytea", moment="timestamptz"))
        statement = upsert("%s")
        return measure(seconds, lambda: connection.execute(statement, rows(datetime.now(UTC))), BATCH, servers)


def sqlite_rows(servers: Servers, seconds: float) -> Numbers:
    path: Path = servers.redis.folder / "floor.sqlite3"
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(TABLE.format(bytes="blob", moment="text"))
    statement = upsert("?")
    try:
        return measure(seconds, lambda: connection.execute(statement, rows("2026-11-20 12:00:00")), BATCH)
    finally:
        connection.close()
