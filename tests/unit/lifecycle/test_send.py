"""The first verb: everything that is sent is announced, signed and on the broker, or nothing is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from django_cluster.brokers import memory
from django_cluster.brokers.capabilities import Capabilities
from django_cluster.brokers.memory import MemoryBroker
from django_cluster.core.codec import Codec
from django_cluster.core.messages import TaskHeader, TaskOptions, TaskPackage
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import NotSerializable, NotSupported, PayloadTooLarge
from django_cluster.lifecycle.send import QueueSender, TaskRouter
from django_cluster.models import QueuedTask
from django_cluster.signals import SENDER, pre_enqueue
from tests.conftest import make_settings

SETTINGS = make_settings()
CODEC = Codec(SETTINGS.signing)


class SmallLoads(MemoryBroker):
    """Takes three messages at once, and counts how often it was asked."""

    capabilities = Capabilities(bulk=3)
    sizes: list[int]

    def enqueue(self, messages: Any) -> None:
        self.sizes = [*getattr(self, "sizes", []), len(messages)]
        super().enqueue(messages)


@pytest.fixture
def broker() -> Iterator[MemoryBroker]:
    memory.reset()
    yield MemoryBroker(SETTINGS.broker)
    memory.reset()


def package(number: int = 1, *args: Any, **options: Any) -> TaskPackage:
    header = TaskHeader(
        id=f"{number:032x}", name=f"task {number}", func="a.b", enqueued_at=1.0, options=TaskOptions(**options)
    )
    return TaskPackage(header=header, args=args)


def test_what_is_sent_can_be_leased_and_read(broker: MemoryBroker) -> None:
    sent = [package(number, "x" * number) for number in range(1, 4)]

    QueueSender(CODEC, broker).send(sent)

    assert [CODEC.loads(delivery.payload) for delivery in broker.lease(10)] == sent


def test_a_large_batch_goes_in_as_few_round_trips_as_the_broker_allows(broker: MemoryBroker) -> None:
    small = SmallLoads(SETTINGS.broker)

    QueueSender(CODEC, small).send([package(number) for number in range(7)])

    assert small.sizes == [3, 3, 1]
    assert broker.size().ready == 7


def test_nothing_is_sent_when_one_cannot_be_written(broker: MemoryBroker) -> None:
    with pytest.raises(NotSerializable):
        QueueSender(CODEC, broker).send([package(1), package(2, lambda: None)])

    assert broker.size().total == 0


def test_nothing_to_send_asks_the_broker_nothing() -> None:
    small = SmallLoads(SETTINGS.broker)

    QueueSender(CODEC, small).send([])

    assert not hasattr(small, "sizes")


def test_the_broker_is_told_of_priority_and_delay(broker: MemoryBroker) -> None:
    later = 4e9

    QueueSender(CODEC, broker).send([package(1), package(2, priority=50), package(3, not_before=later)])

    assert [(waiting.priority, waiting.due) for waiting in broker.peek()] == [(50, None), (0, None), (0, later)]


def test_receivers_hear_of_a_task_before_it_is_on_the_broker(broker: MemoryBroker) -> None:
    heard: list[tuple[str, str, int]] = []

    def listen(sender: object, task: TaskPackage, **_: object) -> None:
        heard.append((str(sender), task.id, broker.size().total))

    pre_enqueue.connect(listen)
    try:
        QueueSender(CODEC, broker).send([package(1), package(2)])
    finally:
        pre_enqueue.disconnect(listen)

    assert heard == [(SENDER, f"{1:032x}", 0), (SENDER, f"{2:032x}", 0)]


def test_a_receiver_that_raises_stops_nobody(broker: MemoryBroker, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(**_: object) -> None:
        raise RuntimeError("not today")

    pre_enqueue.connect(refuse)
    try:
        QueueSender(CODEC, broker).send([package()])
    finally:
        pre_enqueue.disconnect(refuse)

    assert broker.size().ready == 1
    assert "not today" in caplog.text


# ── to more than one place ───────────────────────────────────────────────────────────────────────


def section(**changes: Any) -> BrokerSettings:
    return replace(SETTINGS.broker, **changes)


def size(**changes: Any) -> int:
    return MemoryBroker(section(**changes)).size().ready


def test_each_package_goes_to_the_queue_and_the_broker_that_it_names(broker: MemoryBroker) -> None:
    router = TaskRouter(CODEC, broker, {"audit": section(name="audit")})

    router.send([package(1), package(2, queue="mail"), package(3, broker="audit")])
    router.send([package(4, broker="audit", queue="mail")])

    places = [{}, {"queue": "mail"}, {"name": "audit"}, {"name": "audit", "queue": "mail"}]
    assert [size(**place) for place in places] == [1, 1, 1, 1]


def test_a_queue_that_lives_elsewhere_is_found_there(broker: MemoryBroker) -> None:
    home = section(name="elsewhere", queue="books")
    router = TaskRouter(CODEC, broker, queue_brokers={"books": home})

    router.send([package(1, queue="books"), package(2, queue="mail")])

    assert (size(name="elsewhere", queue="books"), size(queue="books"), size(queue="mail")) == (1, 0, 1)


def test_other_queues_of_a_cluster_are_where_they_are(broker: MemoryBroker) -> None:
    member = MemoryBroker(section(name="beside", queue="books"))

    TaskRouter(CODEC, broker, beside=[member]).send([package(1, queue="books")])

    assert member.size().ready == 1


def test_a_broker_that_nobody_named_is_refused(broker: MemoryBroker) -> None:
    with pytest.raises(NotSupported, match="'audit'"):
        TaskRouter(CODEC, broker).send([package(1, broker="audit")])


class ShortDelays(MemoryBroker):
    """Delays for a minute at most, and takes small messages only."""

    capabilities = Capabilities(max_delay=60, max_payload=2000)


@pytest.mark.django_db
def test_what_cannot_be_delayed_for_so_long_waits_in_the_database(broker: MemoryBroker) -> None:
    short, now = ShortDelays(SETTINGS.broker), time.time()

    QueueSender(CODEC, short).send([package(1), package(2, not_before=now + 30), package(3, not_before=now + 90)])

    assert (short.size().ready, short.size().delayed) == (1, 1)
    (row,) = QueuedTask.objects.all()
    assert row.queue == "delayed::tests"
    assert CODEC.loads(row.payload).id == package(3).id


def test_nothing_is_sent_where_one_message_is_too_large(broker: MemoryBroker) -> None:
    with pytest.raises(PayloadTooLarge):
        QueueSender(CODEC, ShortDelays(SETTINGS.broker)).send([package(1), package(2, "x" * 5000)])

    assert broker.size().total == 0
