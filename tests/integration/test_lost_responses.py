"""The database has done what it was asked, and its answer is lost: what is sent again makes no second message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections, transaction

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message
from django_cluster.brokers.orm_publisher import KEYS_PER_STREAM, KeyStream, key_of_name
from django_cluster.database.connection import has_lost
from django_cluster.errors import BrokerUnavailable
from django_cluster.models import AcknowledgedMessages
from django_cluster.testing.contracts import deliveries_of, payloads, receipts
from tests.brokers import known_database, opener, queue_on
from tests.servers import MariaDBServer, PostgresServer
from tests.servers.tunnel import Tunnel


@pytest.fixture(autouse=True)
def databases(django_db_blocker: Any) -> Iterator[None]:
    """These tests use databases of their own, so they need none of pytest-django's."""
    with django_db_blocker.unblock():
        yield


def socket_of(server: PostgresServer | MariaDBServer) -> str:
    return server.socket if isinstance(server, MariaDBServer) else f"{server.folder}/.s.PGSQL.5432"


@pytest.fixture(params=["postgres_server", "mariadb_server"])
def alias(request: pytest.FixtureRequest) -> Iterator[str]:
    """Without anything between us and the server."""
    with queue_on(request.getfixturevalue(request.param)) as alias:
        yield alias


@pytest.fixture
def tunnel(alias: str, request: pytest.FixtureRequest) -> Iterator[Tunnel]:
    names = {"postgresql": "postgres_server", "mysql": "mariadb_server"}
    server = request.getfixturevalue(names[connections[alias].vendor])
    with Tunnel(socket_of(server), b"django_cluster_queuedtask") as tunnel:
        yield tunnel


@pytest.fixture
def broker(alias: str) -> Broker:
    """Hears every answer."""
    return opener("orm", alias=alias)()


@pytest.fixture
def sender(alias: str, broker: Broker, tunnel: Tunnel) -> Iterator[Broker]:
    """Sends through the tunnel."""
    entry = {**connections[alias].settings_dict, "HOST": "127.0.0.1", "PORT": str(tunnel.port)}
    with known_database(entry) as through:
        sender = opener("orm", alias=through)(queue=broker.queue)
        sender.ping()
        yield sender


@pytest.mark.parametrize("count", [1, 3])
def test_what_is_sent_again_makes_no_second_message(broker: Broker, sender: Broker, tunnel: Tunnel, count: int) -> None:
    names = [str(number) for number in range(count)]
    tunnel.to_lose = 1

    sender.enqueue([Message(name) for name in names])

    assert tunnel.lost == 1
    assert [each.payload for each in broker.peek(count + 1)] == names


def test_a_lost_commit_makes_no_second_messages(broker: Broker, sender: Broker, tunnel: Tunnel) -> None:
    tunnel.word = b"COMMIT"
    tunnel.to_lose = 1

    sender.enqueue([Message("x")] * 2500)

    assert tunnel.lost == 1
    assert broker.size().total == 2500


def test_what_has_run_before_it_is_sent_again_is_not_run_again(
    broker: Broker, sender: Broker, tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []

    def run(connection: Any, used: object, error: BaseException | None = None) -> bool:
        """Like a cluster, before the sender has noticed."""
        deliveries = broker.lease(10)
        broker.acknowledge(receipts(deliveries))
        ran.extend(payloads(deliveries))
        return has_lost(connection, used, error)

    monkeypatch.setattr("django_cluster.database.session.has_lost", run)
    tunnel.to_lose = 1

    sender.enqueue([Message("one")])

    assert ran == ["one"]
    assert broker.size().total == 0


def test_several_answers_in_a_row_may_be_lost(broker: Broker, sender: Broker, tunnel: Tunnel) -> None:
    tunnel.to_lose = 3

    sender.enqueue([Message("one")])

    assert tunnel.lost == 3
    assert [each.payload for each in broker.peek()] == ["one"]


def test_what_the_server_never_got_is_sent_again(broker: Broker, sender: Broker, tunnel: Tunnel) -> None:
    tunnel.to_delay = 1

    sender.enqueue([Message("one")])

    assert [each.payload for each in broker.peek()] == ["one"]


def test_a_message_with_a_name_is_kept_once(broker: Broker, sender: Broker, tunnel: Tunnel) -> None:
    some = [Message("1"), Message("2"), Message("3")]
    tunnel.to_lose = 1

    sender.enqueue_unique(some, ["1", "2", "3"])
    broker.enqueue_unique(some, ["1", "2", "3"])

    assert [each.payload for each in broker.peek()] == ["1", "2", "3"]


def test_a_message_with_a_name_that_has_run_after_a_failed_sending_is_not_run_again(
    broker: Broker, sender: Broker, tunnel: Tunnel
) -> None:
    tunnel.to_lose = 10
    with pytest.raises(BrokerUnavailable):
        sender.enqueue_unique([Message("one")], ["the name"])
    broker.acknowledge(receipts(broker.lease(10)))
    tunnel.to_lose = 0

    sender.enqueue_unique([Message("one")], ["the name"])

    assert broker.size().total == 0


def test_the_caller_s_transaction_is_kept_or_not_at_all(broker: Broker, sender: Broker, tunnel: Tunnel) -> None:
    through = sender.database
    assert through is not None
    tunnel.to_lose = 1

    def send() -> None:
        with transaction.atomic(using=through):
            sender.enqueue([Message("one")])

    with pytest.raises(BrokerUnavailable):
        send()

    assert broker.size().total == 0


def test_a_lost_answer_to_releasing_releases_one_attempt(broker: Broker, sender: Broker, tunnel: Tunnel) -> None:
    broker.enqueue([Message("one")])
    for _ in range(2):
        broker.release(broker.lease(1))
    held = receipts(broker.lease(1))
    tunnel.to_lose = 1

    sender.release(deliveries_of(held), refund_attempt=True)

    assert tunnel.lost == 1
    assert [each.attempts for each in broker.peek()] == [2]


def test_notes_of_acknowledged_messages_are_forgotten(
    alias: str, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_cluster.brokers.orm.CLEANUP_INTERVAL_SECONDS", 0.0)
    broker = opener("orm", alias=alias)()
    broker.enqueue([Message("one"), Message("two")])
    broker.acknowledge(receipts(broker.lease(2)))
    notes = AcknowledgedMessages.objects.using(alias)
    (note,) = notes.all()
    assert note.message_keys.count(",") == 3

    broker.lease(1)
    assert notes.count() == 1
    notes.update(acknowledged_at=note.acknowledged_at - 301 * 1_000_000)
    broker.lease(1)

    assert notes.count() == 0


def test_keys_follow_each_other() -> None:
    stream = KeyStream()

    first, second = stream.take(3), stream.take(2)

    assert [*first, *second] == list(range(first[0], first[0] + 5))
    assert len(stream.take(2 * KEYS_PER_STREAM)) == 2 * KEYS_PER_STREAM


def test_a_name_has_one_key_in_each_queue() -> None:
    assert key_of_name("a", "one") == key_of_name("a", "one")
    assert len({key_of_name(queue, name) for queue in "ab" for name in ("one", "two")}) == 4
    assert all(0 < key_of_name("a", str(number)) < 2**63 for number in range(100))
