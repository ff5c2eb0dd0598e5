"""Brokers for tests: a queue of its own for each test, databases that Django learns of meanwhile, certificates."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.db import connections

from django_cluster.brokers import open_broker
from django_cluster.brokers.base import Broker
from django_cluster.core.settings import BrokerSettings
from django_cluster.models import AcknowledgedMessages, QueuedTask
from django_cluster.testing.contracts import Opener
from tests.servers import MariaDBServer, MySQLServer, PostgresServer


def opener(kind: str, *, offload_large_payloads: int = 0, **options: Any) -> Opener:
    """Opens brokers for a queue that no other test uses."""
    section = BrokerSettings(
        kind=kind,
        options=options,
        name="tests",
        queue=uuid4().hex,
        poll=0.05,
        offload_large_payloads=offload_large_payloads,
    )

    def open_another(**changes: Any) -> Broker:
        return open_broker(replace(section, **changes))

    return open_another


@contextlib.contextmanager
def known_database(entry: dict[str, Any]) -> Iterator[str]:
    """The alias under which Django knows this database for a while."""
    alias = f"test {uuid4().hex}"
    connections.databases[alias] = connections.configure_settings({"default": {}, alias: entry})[alias]
    try:
        yield alias
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.databases[alias]


@contextlib.contextmanager
def queue_database(entry: dict[str, Any]) -> Iterator[str]:
    """The same, with the queue table in it."""
    with known_database(entry) as alias:
        with connections[alias].schema_editor() as editor:
            editor.create_model(QueuedTask)
            editor.create_model(AcknowledgedMessages)
        yield alias


@contextlib.contextmanager
def queue_on(server: PostgresServer | MariaDBServer | MySQLServer, **changes: Any) -> Iterator[str]:
    """The alias of a new database with a queue table on this server."""
    name = f"queue_{uuid4().hex}"
    server.create_database(name)
    with queue_database({**server.database(name), **changes}) as alias:
        yield alias
    server.drop_database(name)


def certificate_for(name: str, folder: Path) -> tuple[Path, Path]:
    """A key, and a certificate that it has signed for this name, such as ``DNS:rabbit.example.org``."""
    key, certificate = folder / "key", folder / "certificate"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tests"]
    make += ["-addext", f"subjectAltName={name}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make, check=True, capture_output=True)
    return key, certificate
