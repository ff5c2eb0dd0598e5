"""A program that starts a cluster while it has connections open, one of them in the middle of a transaction."""

from __future__ import annotations

import sys
from threading import Thread

import django

django.setup()

from django.db import connections, transaction  # noqa: E402  Django comes first

from django_cluster.cluster.supervisor.embedded_cluster import Cluster  # noqa: E402
from django_cluster.conf import load_settings  # noqa: E402
from django_cluster.tasks import async_bulk, result  # noqa: E402
from tests.integration.database_tasks import session, session_of  # noqa: E402


def main(manner: str) -> None:
    ids = async_bulk(session, [()] * 10)
    if manner == "transaction":
        with transaction.atomic():
            run(ids)
    else:
        session_of()
        run(ids)


def run(ids: list[str]) -> None:
    """The session must survive the birth, the life and the death of everybody in the cluster."""
    before = session_of() if connections["default"].in_atomic_block else None
    with Cluster(load_settings()):
        reader = Thread(target=show, args=(ids,))  # with a connection of its own, and no transaction
        reader.start()
        reader.join()
    print("session kept:", before in (None, session_of()), flush=True)  # noqa: T201  the test reads it


def show(ids: list[str]) -> None:
    mine = session_of()
    sessions = {number for _, number in (result(task_id, wait=30_000) for task_id in ids)}
    print("crossed:", mine in sessions, flush=True)  # noqa: T201  the test reads it
    connections.close_all()


if __name__ == "__main__":
    main(sys.argv[1])
