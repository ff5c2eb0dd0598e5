"""Failures of RabbitMQ: connections that end during a stop, and nodes that refuse to store messages."""

from __future__ import annotations

from collections.abc import Iterator
from signal import SIGTERM

import pytest

from tests.conftest import wait_until
from tests.e2e.conftest import MakeProject
from tests.servers import RabbitServer
from tests.servers.tunnel import Tunnel

LEASE = 6.0
STOPPING = "stopping: waiting for running tasks"


@pytest.fixture
def tunnel(rabbitmq_server: RabbitServer) -> Iterator[Tunnel]:
    with Tunnel(rabbitmq_server.port, b"-") as tunnel:
        yield tunnel


def test_what_is_done_when_connections_end_during_a_stop_is_acknowledged_before_the_cluster_leaves(
    make_project: MakeProject, rabbitmq_server: RabbitServer, tunnel: Tunnel
) -> None:
    project = make_project("by tunnel", retry=LEASE, rabbitmq=f"amqp://127.0.0.1:{tunnel.port}")
    cluster = project.start()
    end = project.folder / "end"
    ids = project.enqueue_many("tests.e2e.tasks.say_and_wait_for", [(str(project.trace), str(end))] * 2)
    project.wait_for_traces(2)
    project.enqueue_many("tests.sample.tasks.add", [(1, 1)] * 3)

    cluster.signal(SIGTERM)
    cluster.wait_for_log(STOPPING)
    tunnel.hang_up()
    end.touch()

    assert cluster.wait_for_exit() == 0
    assert {row.id for row in project.rows() if row.success} == set(ids)
    wait_until(lambda: project.broker().size().total == 3, 10, "only what was never begun should be in the queue")
    project.broker().purge()
    project.broker().close()
