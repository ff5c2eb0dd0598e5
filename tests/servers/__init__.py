"""Real servers for tests, and the rule for machines that do not have them."""

from __future__ import annotations

import os

import pytest

from tests.servers.base import Server
from tests.servers.chromium import Chromium
from tests.servers.disque import DisqueServer
from tests.servers.ironmq import IronServer
from tests.servers.mariadb import MariaDBServer
from tests.servers.mongo import FerretServer, NxServer
from tests.servers.mysql import MySQLServer
from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisCluster, RedisServer, Sentinels
from tests.servers.sqs import SqsServer
from tests.servers.tool import Tool

_ALL: tuple[type[Server], ...] = (
    RedisServer,
    PostgresServer,
    MariaDBServer,
    MySQLServer,
    PgBouncer,
    RabbitServer,
    SqsServer,
    FerretServer,
    NxServer,
    DisqueServer,
    IronServer,
)

SERVERS = {server.name: server for server in _ALL}
TOOLS: dict[str, type[Tool]] = {**SERVERS, Chromium.name: Chromium}
"""What a test may ask for: the servers, and a browser."""

__all__ = [
    "SERVERS",
    "TOOLS",
    "Chromium",
    "DisqueServer",
    "FerretServer",
    "IronServer",
    "MariaDBServer",
    "MySQLServer",
    "NxServer",
    "PgBouncer",
    "PostgresServer",
    "RabbitServer",
    "RedisCluster",
    "RedisServer",
    "Sentinels",
    "Server",
    "SqsServer",
    "require",
]


def require(name: str) -> None:
    """Skip the test where the server cannot run, or fail it where ``REQUIRE_SERVERS`` names the server.

    A laptop may lack a database; the machine that says whether a change is good may not.
    """
    server = TOOLS[name]
    missing = server.missing()
    if not missing:
        return
    reason = f"{name} cannot be started here: {', '.join(missing)} missing (Debian package {server.package})"
    if name in os.environ.get("REQUIRE_SERVERS", "").replace(" ", "").split(","):
        pytest.fail(f"{reason}, and REQUIRE_SERVERS names it", pytrace=False)
    pytest.skip(reason)
