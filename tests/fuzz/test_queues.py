"""Every broker: whatever is in its queue, nothing but ``BrokerError`` comes out, the others flow, and it goes once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_cluster.brokers import memory
from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message
from django_cluster.errors import BrokerError
from django_cluster.lifecycle.queue_transfer import QueueTransfer
from django_cluster.testing.contracts import Opener, eventually
from tests.brokers import opener, queue_database, queue_on
from tests.examples import examples
from tests.fuzz import foreign
from tests.fuzz.fetching import Pusher
from tests.fuzz.hostile_values import CANNOT_TRAVEL, GOOD, SIGNED, TEXTS, messages
from tests.integration.cluster_harness import CODEC
from tests.servers import (
    DisqueServer,
    IronServer,
    MariaDBServer,
    NxServer,
    PostgresServer,
    RabbitServer,
    RedisServer,
    SqsServer,
)

FEW = 8
"""Examples of each property at each broker."""
RETURNED = 5
"""So often leased before that what another may have signed is not given back any more."""


@pytest.fixture(scope="class")
def databases(django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


def send(broker: Broker, texts: Sequence[str]) -> int:
    """One by one; returns how many the broker has taken. A text that its server cannot keep is refused."""
    taken = 0
    for text in texts:
        try:
            broker.enqueue([Message(text, attempts=RETURNED)])
        except (BrokerError, UnicodeEncodeError):
            continue
        taken += 1
    return taken


class QueueContract:
    """What the classes of the brokers share."""

    def plant(self, broker: Any) -> int:
        """Put what is foreign into the queue, as others can; returns how many messages that are."""
        return send(broker, self.fitting(*TEXTS.values()))

    def fits(self, text: str) -> bool:
        """Whether the server of the tests answers when it is sent this text."""
        return True

    def fitting(self, *texts: str) -> list[str]:
        return list(filter(self.fits, texts))

    @pytest.fixture
    def broker(self, open_another: Opener) -> Iterator[Broker]:
        broker = open_another()
        broker.prepare()
        yield broker
        broker.close()

    @pytest.fixture
    def pusher(self, broker: Broker, tmp_path: Path) -> Iterator[Pusher]:
        pusher = Pusher(broker, tmp_path)
        yield pusher
        pusher.close()

    def look(self, broker: Broker) -> None:
        seen = broker.peek(1000)
        assert all(type(each.payload) is str and type(each.attempts) is int for each in seen)
        broker.size()
        broker.cancel(["x", "²", "9" * 30, "", "-1"]) if broker.capabilities.cancel else None

    def gone(self, broker: Broker) -> None:
        if broker.capabilities.exact_size:
            eventually(lambda: not broker.size().total)
        assert broker.lease(100) in ([], ())

    def test_what_nobody_here_has_signed_is_put_aside_and_the_others_flow(self, broker: Broker, pusher: Pusher) -> None:
        refused = send(broker, self.fitting(*CANNOT_TRAVEL, *TEXTS.values()))
        sent = send(broker, [GOOD, *SIGNED.values()])
        assert sent == 1 + len(SIGNED)
        self.look(broker)

        pusher.take_all(refused + sent)

        assert len(pusher.reports.outcomes) == refused
        assert {each.status for each in pusher.reports.outcomes} == {"rejected"}
        assert CODEC.verify(GOOD) in pusher.tasks
        self.gone(broker)

    def test_what_others_have_put_into_the_queue_is_put_aside_and_the_others_flow(
        self, broker: Broker, pusher: Pusher
    ) -> None:
        planted = self.plant(broker)
        broker.enqueue([Message(GOOD)])
        self.look(broker)

        pusher.take_all(planted + 1)

        assert len(pusher.reports.outcomes) == planted
        assert pusher.tasks == [CODEC.verify(GOOD)]
        self.gone(broker)

    def test_what_others_have_put_into_the_queue_can_be_moved(self, broker: Broker) -> None:
        planted = self.plant(broker)
        target = opener("memory")()

        moved = QueueTransfer(broker, target).run()

        assert (moved.total, moved.refused, target.size().total) == (planted, [], planted)
        memory.reset()

    def test_any_text_is_moved_here_or_refused_in_words(self, broker: Broker) -> None:
        source = opener("memory")()
        texts = self.fitting(*CANNOT_TRAVEL, *TEXTS.values())
        source.enqueue([Message(text) for text in texts])

        moved = QueueTransfer(source, broker).run()

        assert moved.total + len(moved.refused) == len(texts)
        assert source.size().total == len(moved.refused)
        assert all(moved.refused)
        memory.reset()

    def test_any_text_is_put_aside(self, broker: Broker, tmp_path: Path) -> None:
        # Inside, because the method itself belongs to many classes.
        @settings(max_examples=examples(FEW), derandomize=True, database=None, suppress_health_check=list(HealthCheck))
        @given(texts=st.lists(messages, min_size=1, max_size=10))
        def these_are_put_aside(texts: list[str]) -> None:
            pusher = Pusher(broker, tmp_path)
            sent = send(broker, self.fitting(*texts))
            self.look(broker)

            pusher.take_all(sent)

            assert len(pusher.reports.outcomes) == sent
            pusher.close()

        these_are_put_aside()


class TestMemory(QueueContract):
    @pytest.fixture
    def open_another(self) -> Iterator[Opener]:
        yield opener("memory")
        memory.reset()


class OrmContract(QueueContract):
    def plant(self, broker: Any) -> int:
        return foreign.rows(broker)

    @pytest.fixture
    def open_another(self, alias: str) -> Opener:
        return opener("orm", alias=alias)


class TestSQLite(OrmContract):
    @pytest.fixture(scope="class")
    @staticmethod
    def alias(tmp_path_factory: pytest.TempPathFactory, databases: None) -> Iterator[str]:
        file = tmp_path_factory.mktemp("queue") / "queue.sqlite3"
        with queue_database({"ENGINE": "django.db.backends.sqlite3", "NAME": file}) as alias:
            yield alias


class TestPostgreSQL(OrmContract):
    @pytest.fixture(scope="class")
    @staticmethod
    def alias(postgres_server: PostgresServer, databases: None) -> Iterator[str]:
        with queue_on(postgres_server) as alias:
            yield alias


class TestMariaDB(OrmContract):
    @pytest.fixture(scope="class")
    @staticmethod
    def alias(mariadb_server: MariaDBServer, databases: None) -> Iterator[str]:
        with queue_on(mariadb_server) as alias:
            yield alias


class TestRedis(QueueContract):
    def plant(self, broker: Any) -> int:
        return foreign.entries(broker)

    @pytest.fixture
    def open_another(self, redis_server: RedisServer) -> Opener:
        return opener("redis", url=redis_server.url)


class TestRabbitMQ(QueueContract):
    def plant(self, broker: Any) -> int:
        return foreign.rabbitmq_messages(broker)

    @pytest.fixture
    def open_another(self, rabbitmq_server: RabbitServer) -> Opener:
        return opener("rabbitmq", url=rabbitmq_server.url)


class TestMongoDB(QueueContract):
    def plant(self, broker: Any) -> int:
        return foreign.documents(broker)

    @pytest.fixture
    def open_another(self, nx_server: NxServer) -> Opener:
        return opener("mongo", kwargs={"host": nx_server.url}, database="tests")


class TestSqs(QueueContract):
    def plant(self, broker: Any) -> int:
        return foreign.sqs_messages(broker)

    def fits(self, text: str) -> bool:
        """SQS refuses both; the server of the tests drops the one, and breaks at the other."""
        return bool(text) and not any("\ud800" <= each <= "\udfff" for each in text)

    @pytest.fixture
    def open_another(self, sqs_server: SqsServer) -> Opener:
        return opener("sqs", **sqs_server.options)


class TestIronMQ(QueueContract):
    def plant(self, broker: Any) -> int:
        return foreign.iron_messages(broker)

    @pytest.fixture
    def open_another(self, ironmq_server: IronServer) -> Opener:
        return opener("iron_mq", **ironmq_server.options)


class TestDisque(QueueContract):
    def plant(self, broker: Any) -> int:
        return foreign.disque_jobs(broker)

    @pytest.fixture
    def open_another(self, disque_server: DisqueServer) -> Opener:
        return opener("disque", **disque_server.options)
