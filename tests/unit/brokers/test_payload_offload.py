"""Payload offloading in front of a broker in memory: rows come before references, and go after their messages."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_cluster.brokers import memory, open_broker
from django_cluster.brokers.base import Broker
from django_cluster.brokers.capabilities import Capabilities
from django_cluster.brokers.memory import MemoryBroker
from django_cluster.brokers.messages import Delivery, Message
from django_cluster.brokers.orm import OrmBroker
from django_cluster.brokers.payload_offload import MIN_PURGE_AGE_SECONDS, OffloadingBroker
from django_cluster.brokers.publisher import Publisher
from django_cluster.core.payload_references import REFERENCE_PREFIX
from django_cluster.core.settings import BrokerSettings
from django_cluster.database.clock import MICROSECONDS
from django_cluster.errors import BrokerRefused, BrokerUnavailable, NotSupported
from django_cluster.lifecycle.queue_transfer import QueueTransfer
from django_cluster.models import LargePayload
from django_cluster.testing.contracts import deliveries_of, eventually
from tests.e2e.project import working_on

pytestmark = pytest.mark.django_db(transaction=True)

LARGE = "large " * 30
DAY = 86_400


class Small(MemoryBroker):
    """Takes little, forgets it soon, and goes away when it is told to."""

    capabilities = Capabilities(max_payload=150, max_age=2 * DAY, priority=False, cancel=True)
    fails = False

    def enqueue(self, messages: Sequence[Message]) -> None:
        self.check_size(messages)
        if self.fails:
            raise BrokerUnavailable("It is away.")
        super().enqueue(messages)


def section(**changes: Any) -> BrokerSettings:
    return BrokerSettings(**{"kind": f"{__name__}.Small", "queue": "tests", "offload_large_payloads": True, **changes})


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    yield
    memory.reset()


@pytest.fixture
def broker() -> OffloadingBroker:
    opened = open_broker(section())
    assert isinstance(opened, OffloadingBroker)
    return opened


@pytest.fixture
def bare() -> Broker:
    """The same queue, as the adapter sees it."""
    return Small(section())


def rows() -> list[str]:
    return list(LargePayload.objects.values_list("payload", flat=True))


def age(seconds: float) -> None:
    """As if the rows had been written so much earlier."""
    for row in LargePayload.objects.all():
        row.created_at -= int(seconds * MICROSECONDS)
        row.keep_until = row.keep_until and row.keep_until - int(seconds * MICROSECONDS)
        row.save()


# ── who gets one ─────────────────────────────────────────────────────────────────────────────────


def test_it_costs_nothing_where_it_is_not_used() -> None:
    assert type(open_broker(section(offload_large_payloads=False))) is Small
    assert type(open_broker(section(kind="memory"))) is MemoryBroker, "it has no limit"
    assert type(open_broker(section(kind="orm", offload_large_payloads=10))) is OrmBroker, (
        "there payloads are rows anyway"
    )


def test_a_number_is_a_limit_of_our_own_on_any_broker() -> None:
    broker = open_broker(section(kind="memory", offload_large_payloads=10))

    broker.enqueue([Message("x" * 10), Message("x" * 11)])

    assert rows() == ["x" * 11]


# ── the way of a payload ─────────────────────────────────────────────────────────────────────────


def test_a_large_payload_is_a_row_and_the_broker_carries_a_reference(broker: OffloadingBroker, bare: Broker) -> None:
    broker.enqueue([Message("small"), Message(LARGE, attempts=2), Message("x" * 150)])

    first, second, third = (each.payload for each in bare.peek())

    assert (first, third) == ("small", "x" * 150)
    assert second.startswith(REFERENCE_PREFIX)
    assert rows() == [LARGE]
    assert [(each.payload, each.attempt) for each in broker.lease(5)] == [("small", 1), (LARGE, 3), ("x" * 150, 1)]


def test_many_large_payloads_are_one_insert_and_one_select(broker: OffloadingBroker) -> None:
    many = [f"{number} {LARGE}" for number in range(50)]

    with CaptureQueriesContext(connection) as asked:
        broker.enqueue([Message(each) for each in many])
        deliveries = broker.lease(50)

    assert [each.payload for each in deliveries] == many
    # Some versions of Django put the INSERT into a transaction.
    verbs = [query["sql"].split()[0] for query in asked]
    assert [verb for verb in verbs if verb not in ("BEGIN", "COMMIT")] == ["INSERT", "SELECT"]


def test_small_payloads_ask_no_database(broker: OffloadingBroker, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        broker.enqueue([Message("a"), Message("b")])
        receipts = [each.receipt for each in broker.lease(5)]
        broker.renew(receipts)
        broker.release(deliveries_of(receipts[:1]))
        broker.acknowledge(receipts)


@pytest.mark.parametrize("end", ["acknowledge", "discard"])
def test_the_row_goes_after_the_message_also_from_another_process(
    broker: OffloadingBroker, bare: Broker, end: str
) -> None:
    broker.enqueue([Message(LARGE), Message("small")])
    receipts = [each.receipt for each in broker.lease(5)]

    getattr(open_broker(section()), end)(receipts)

    assert rows() == []
    assert bare.size().total == 0


def test_what_is_released_keeps_its_row(broker: OffloadingBroker) -> None:
    broker.enqueue([Message(LARGE)])
    (first,) = broker.lease(1)

    broker.release([first])
    (second,) = broker.lease(1)

    assert (second.payload, second.attempt) == (LARGE, 2)


def test_who_has_lost_the_lease_does_not_delete_the_row_of_who_has_it(broker: OffloadingBroker) -> None:
    late = open_broker(section(lease=0.001))
    broker.enqueue([Message(LARGE)])
    (stale,) = late.lease(1)
    eventually(lambda: broker.size().ready == 1)
    (current,) = broker.lease(1)

    late.acknowledge([stale.receipt])

    assert rows() == [LARGE]
    assert list(broker.renew([stale.receipt, current.receipt])) == [stale.receipt]
    broker.acknowledge([current.receipt])
    assert rows() == []


def test_the_task_that_is_cancelled_takes_its_row_with_it(broker: OffloadingBroker) -> None:
    broker.enqueue([Message(LARGE + "1"), Message(LARGE + "2"), Message("small"), Message("stays")])
    seen = {each.payload: each.key for each in broker.peek()}
    (lent,) = broker.lease(1)

    assert set(seen) == {LARGE + "1", LARGE + "2", "small", "stays"}
    assert broker.cancel([seen[LARGE + "1"], seen[LARGE + "2"], seen["small"]]) == 2
    assert rows() == [lent.payload], "it is lent, and stays"


def test_a_purge_leaves_the_rows_whose_references_may_be_on_their_way(broker: OffloadingBroker) -> None:
    broker.enqueue([Message(LARGE + "old")])
    age(MIN_PURGE_AGE_SECONDS + 1)
    open_broker(section(queue="another")).enqueue([Message(LARGE + "another")])
    age(MIN_PURGE_AGE_SECONDS + 1)
    broker.enqueue([Message(LARGE + "new")])

    assert broker.purge() == 2

    assert sorted(rows()) == [LARGE + "another", LARGE + "new"]


def test_a_move_carries_whole_payloads(broker: OffloadingBroker, bare: Broker) -> None:
    target = open_broker(section(queue="target", kind="memory", offload_large_payloads=False))
    broker.enqueue([Message(LARGE), Message(LARGE + "late", not_before=time.time() + 3600)])

    QueueTransfer(broker, target).run()
    assert {each.payload for each in target.peek()} == {LARGE, LARGE + "late"}
    assert rows() == []
    QueueTransfer(target, broker).run()

    assert sorted(rows()) == [LARGE, LARGE + "late"]
    assert bare.size().total == 2


def test_what_is_refused_is_said_with_the_name_of_the_adapter(broker: OffloadingBroker) -> None:
    with pytest.raises(NotSupported, match="Small has no priorities"):
        Publisher(broker).check([Message(LARGE, priority=1)])

    Publisher(broker).check([Message(LARGE)])


# ── transactions ─────────────────────────────────────────────────────────────────────────────────


def test_inside_a_transaction_the_reference_waits_for_the_commit_of_its_row(
    broker: OffloadingBroker, bare: Broker
) -> None:
    with transaction.atomic():
        broker.enqueue([Message(LARGE)])
        assert bare.size().total == 0

    assert [each.payload for each in broker.lease(1)] == [LARGE]


def test_a_transaction_that_is_rolled_back_leaves_neither_row_nor_reference(
    broker: OffloadingBroker, bare: Broker
) -> None:
    with transaction.atomic():
        broker.enqueue([Message(LARGE)])
        transaction.set_rollback(True)

    assert rows() == []
    assert bare.size().total == 0


# ── what may go wrong ────────────────────────────────────────────────────────────────────────────


def test_a_reference_that_could_not_be_sent_leaves_a_row_for_a_while(broker: OffloadingBroker) -> None:
    broker.inner.fails = True  # type: ignore[attr-defined]  # it is a Small
    with pytest.raises(BrokerUnavailable):
        broker.enqueue([Message(LARGE)])
    assert rows() == [LARGE], "it may have come, all the same"

    age(2 * DAY)
    assert broker.delete_expired() == 0
    age(2 * DAY)
    assert broker.delete_expired() == 1
    assert rows() == []


def test_a_retry_keeps_its_row_as_long_as_a_new_message(broker: OffloadingBroker) -> None:
    broker.enqueue([Message(LARGE)])
    (delivery,) = broker.lease(1)
    age(2 * DAY + DAY - 60)

    broker.release([delivery], 5)
    age(120)

    assert broker.delete_expired() == 0


def test_what_is_released_for_long_keeps_its_row_for_as_long(broker: OffloadingBroker) -> None:
    broker.enqueue([Message(LARGE)])

    broker.release(broker.lease(1), 30 * DAY, refund_attempt=True)
    age(32 * DAY)

    assert broker.delete_expired() == 0
    assert rows() == [LARGE]


def test_where_the_broker_keeps_forever_so_does_the_row() -> None:
    broker = open_broker(section(kind="memory", offload_large_payloads=10))
    assert isinstance(broker, OffloadingBroker)
    broker.enqueue([Message(LARGE)])
    (delivery,) = broker.lease(1)
    broker.release([delivery], 5)
    age(1000 * DAY)

    assert broker.delete_expired() == 0


def test_a_reference_without_its_row_is_leased_as_it_is(broker: OffloadingBroker, bare: Broker) -> None:
    broker.enqueue([Message(LARGE), Message("small")])
    LargePayload.objects.all().delete()

    reference, small = broker.lease(5)

    assert reference.payload.startswith(REFERENCE_PREFIX)
    assert small.payload == "small"
    broker.acknowledge([reference.receipt, small.receipt])
    assert bare.size().total == 0


def test_a_reference_of_another_site_opens_no_row_of_ours(broker: OffloadingBroker, bare: Broker) -> None:
    broker.enqueue([Message(LARGE)])
    (forged,) = [each.payload for each in bare.peek()]
    stranger = open_broker(section(name="another"))

    Small(section(name="another")).enqueue([Message(forged)])
    (delivery,) = stranger.lease(1)
    stranger.acknowledge([delivery.receipt])

    assert delivery.payload == forged
    assert rows() == [LARGE]


def test_while_the_table_is_unavailable_nothing_is_leased(broker: OffloadingBroker, bare: Broker) -> None:
    broker.enqueue([Message(LARGE), Message("small")])
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_cluster_largepayload RENAME TO elsewhere")
    try:
        with pytest.raises(BrokerRefused):
            broker.lease(5)
        assert [each.leased for each in bare.peek()] == [False, False]
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO django_cluster_largepayload")

    assert [(each.payload, each.attempt) for each in broker.lease(5)] == [(LARGE, 1), ("small", 1)]


def test_while_the_database_is_unavailable_one_attempt_is_lost_at_most(broker: OffloadingBroker, bare: Broker) -> None:
    broker.enqueue([Message(LARGE)])
    asked: list[int] = []
    lend = broker.inner.lease

    def counted(limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        asked.append(limit)
        return lend(limit, wait, not_after=not_after)

    broker.inner.lease = counted  # type: ignore[method-assign]  # and count
    with working_on({"ENGINE": "django.db.backends.sqlite3", "NAME": "/nowhere/db.sqlite3"}):
        for _ in range(3):
            with pytest.raises(BrokerUnavailable):
                broker.lease(5)

    assert len(asked) == 1
    assert [each.payload for each in broker.lease(5)] == [LARGE]


def test_a_row_that_cannot_be_deleted_is_no_failure_of_the_acknowledgement(
    broker: OffloadingBroker, bare: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.enqueue([Message(LARGE)])
    (delivery,) = broker.lease(1)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_cluster_largepayload RENAME TO elsewhere")
    try:
        broker.acknowledge([delivery.receipt])
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO django_cluster_largepayload")

    assert bare.size().total == 0
    assert "Large payloads not deleted" in caplog.text


def test_qprune_deletes_what_no_broker_can_ask_for(broker: OffloadingBroker, settings: Any, capsys: Any) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "save_limit": 0}
    broker.enqueue([Message(LARGE)])
    age(4 * DAY)
    broker.enqueue([Message(LARGE + "new")])

    call_command("qprune", "--dry-run")
    assert len(rows()) == 2
    call_command("qprune")
    assert rows() == [LARGE + "new"]
    with pytest.raises(CommandError, match="Nothing says"):
        call_command("qprune")

    assert capsys.readouterr().out.splitlines() == [
        "large payloads: 1 that no broker references any more would be deleted.",
        "large payloads: 1 that no broker references any more deleted.",
    ]
