"""Who holds what at RabbitMQ: the bookkeeping of claims, quarantine and dispositions."""

from __future__ import annotations

import pytest

from django_cluster.brokers.rabbitmq_unacked import (
    FORGET,
    MAX_REMEMBERED,
    ArrivalAction,
    Disposition,
    ReceivedMessage,
    UnackedMessages,
)
from tests.fields import fields

LEASE = 60.0
ID = "0" * 32
OTHER = "1" * 32


def message(
    name: str = ID, *, tag: int = 1, redelivered: bool = False, earlier: int = 0, not_before: float = 0.0
) -> ReceivedMessage:
    return ReceivedMessage(name, "payload", earlier, not_before, tag, redelivered)


@pytest.fixture
def unacked() -> UnackedMessages:
    return UnackedMessages(LEASE)


def arrive(unacked: UnackedMessages, arrived: ReceivedMessage, now: float = 0.0, clock: float = 0.0) -> ArrivalAction:
    return unacked.arrive(arrived, now, clock)[0]


def test_what_comes_for_the_first_time_is_leased(unacked: UnackedMessages) -> None:
    assert arrive(unacked, message()) is ArrivalAction.LEASE

    (held,) = unacked.lease_ready(10, now=0)

    assert fields(held, "receipt", "attempt", "tag") == {"receipt": f"{ID}:1", "attempt": 1, "tag": 1}


def test_what_is_redelivered_waits_for_a_lease_and_counts_an_attempt(unacked: UnackedMessages) -> None:
    assert arrive(unacked, message(redelivered=True, earlier=1)) is ArrivalAction.KEEP
    unacked.promote(LEASE - 1)
    assert list(unacked.lease_ready(10, now=LEASE - 1)) == []

    unacked.promote(LEASE)

    assert [held.receipt for held in unacked.lease_ready(10, now=LEASE)] == [f"{ID}:2"]


def test_a_claim_before_the_message_comes_takes_it_over(unacked: UnackedMessages) -> None:
    assert unacked.renew(f"{ID}:1", now=0)

    assert arrive(unacked, message(redelivered=True, earlier=1, tag=7)) is ArrivalAction.KEEP

    assert unacked.held[ID].receipt == f"{ID}:1"
    assert unacked.held[ID].tag == 7


def test_a_claim_after_the_message_came_takes_it_over_too(unacked: UnackedMessages) -> None:
    arrive(unacked, message(redelivered=True, earlier=1, tag=7))

    assert unacked.renew(f"{ID}:1", now=1)

    unacked.promote(LEASE * 2)
    assert list(unacked.lease_ready(10, now=LEASE * 2)) == []
    assert unacked.held[ID].tag == 7


def test_what_is_held_when_the_connection_is_lost_is_taken_over_when_it_comes_again(unacked: UnackedMessages) -> None:
    arrive(unacked, message(tag=1))
    list(unacked.lease_ready(1, now=0))

    unacked.connection_lost()
    assert unacked.held[ID].tag is None
    assert arrive(unacked, message(tag=9, redelivered=True, earlier=1)) is ArrivalAction.KEEP

    assert unacked.held[ID].tag == 9
    assert unacked.held[ID].receipt == f"{ID}:1"


def test_what_was_never_leased_when_the_connection_was_lost_is_leased_immediately(unacked: UnackedMessages) -> None:
    arrive(unacked, message())

    unacked.connection_lost()

    assert arrive(unacked, message(tag=2, redelivered=True)) is ArrivalAction.LEASE


def test_what_was_ended_while_its_connection_was_lost_is_acknowledged_when_it_is_redelivered(
    unacked: UnackedMessages,
) -> None:
    unacked.decide(f"{ID}:1", FORGET, 0.0)
    unacked.decide(f"{OTHER}:1", Disposition(False, earlier=1, not_before=5.0), 0.0)

    assert arrive(unacked, message(redelivered=True)) is ArrivalAction.FORGET
    assert unacked.arrive(message(OTHER, redelivered=True), 0, 0) == (
        ArrivalAction.REPUBLISH,
        Disposition(False, 1, 5.0),
    )


def test_an_acknowledgement_that_got_lost_is_made_again(unacked: UnackedMessages) -> None:
    arrive(unacked, message())
    list(unacked.lease_ready(1, now=0))
    unacked.forget(ID)

    assert arrive(unacked, message(tag=2, redelivered=True, earlier=1)) is ArrivalAction.FORGET


def test_what_is_done_and_not_acknowledged_is_owed_until_it_comes_or_for_two_leases(unacked: UnackedMessages) -> None:
    unacked.decide(f"{ID}:1", FORGET, 0.0)
    unacked.decide(f"{OTHER}:1", FORGET, 0.0)
    assert unacked.expected_again(0.0) == 2

    arrive(unacked, message(redelivered=True))

    assert unacked.expected_again(LEASE) == 1
    assert unacked.expected_again(2 * LEASE) == 0


def test_a_copy_of_what_is_held_is_dropped(unacked: UnackedMessages) -> None:
    arrive(unacked, message(tag=1))
    list(unacked.lease_ready(1, now=0))

    assert arrive(unacked, message(tag=2)) is ArrivalAction.FORGET
    assert unacked.held[ID].tag == 1


def test_a_message_that_is_too_early_waits_until_it_is_due(unacked: UnackedMessages) -> None:
    assert arrive(unacked, message(not_before=101.5), now=10, clock=100) is ArrivalAction.KEEP
    assert unacked.next_due() == 11.5

    unacked.promote(11.5)

    assert len(list(unacked.lease_ready(1, now=11.5))) == 1


def test_a_lease_that_no_process_renews_ends(unacked: UnackedMessages) -> None:
    arrive(unacked, message())
    (held,) = unacked.lease_ready(1, now=0)
    unacked.renew(held.receipt, now=LEASE / 2)

    assert unacked.expired(LEASE) == []
    assert unacked.expired(LEASE * 1.5) == [held]


@pytest.mark.parametrize("receipt", ["", "nonsense", "1:2:3", f"{ID}:", f"{ID}:x", f"{ID[:-1]}:1", "é"])
def test_nonsense_is_nobodys_receipt(unacked: UnackedMessages, receipt: str) -> None:
    unacked.decide(receipt, FORGET, 0.0)

    assert not unacked.renew(receipt, now=0)
    assert unacked.take(receipt) is None


def test_a_receipt_of_another_attempt_settles_nothing(unacked: UnackedMessages) -> None:
    arrive(unacked, message(earlier=1))
    list(unacked.lease_ready(1, now=0))

    unacked.decide(f"{ID}:1", FORGET, 0.0)

    assert unacked.take(f"{ID}:1") is None
    assert unacked.take(f"{ID}:2") is not None
    assert not unacked.renew(f"{ID}:1", now=0)


def test_memory_of_the_past_has_a_bound(unacked: UnackedMessages) -> None:
    for number in range(MAX_REMEMBERED + 10):
        unacked.forget(f"{number:032x}")

    assert arrive(unacked, message(f"{0:032x}")) is ArrivalAction.LEASE
    assert arrive(unacked, message(f"{MAX_REMEMBERED:032x}")) is ArrivalAction.FORGET
