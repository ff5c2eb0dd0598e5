"""Who holds what at RabbitMQ: the bookkeeping of claims, quarantine and fates."""

from __future__ import annotations

import pytest

from django_cluster.brokers.rabbitmq_holding import FORGET, MEMORY, Arrived, Fate, Holding, Verdict

LEASE = 60.0
ID = "0" * 32
OTHER = "1" * 32


def message(
    name: str = ID, *, tag: int = 1, redelivered: bool = False, earlier: int = 0, not_before: float = 0.0
) -> Arrived:
    return Arrived(name, "payload", earlier, not_before, tag, redelivered)


@pytest.fixture
def holding() -> Holding:
    return Holding(LEASE)


def arrive(holding: Holding, arrived: Arrived, now: float = 0.0, clock: float = 0.0) -> Verdict:
    return holding.arrive(arrived, now, clock)[0]


def test_what_comes_for_the_first_time_is_lent(holding: Holding) -> None:
    assert arrive(holding, message()) is Verdict.LEND

    (held,) = holding.lend(10, now=0)

    assert (held.receipt, held.attempt, held.tag) == (f"{ID}:1", 1, 1)


def test_what_is_redelivered_waits_for_a_lease_and_counts_an_attempt(holding: Holding) -> None:
    assert arrive(holding, message(redelivered=True, earlier=1)) is Verdict.KEEP
    holding.promote(LEASE - 1)
    assert list(holding.lend(10, now=LEASE - 1)) == []

    holding.promote(LEASE)

    assert [held.receipt for held in holding.lend(10, now=LEASE)] == [f"{ID}:2"]


def test_a_claim_before_the_message_comes_takes_it_over(holding: Holding) -> None:
    assert holding.renew(f"{ID}:1", now=0)

    assert arrive(holding, message(redelivered=True, earlier=1, tag=7)) is Verdict.KEEP

    assert holding.held[ID].receipt == f"{ID}:1"
    assert holding.held[ID].tag == 7


def test_a_claim_after_the_message_came_takes_it_over_too(holding: Holding) -> None:
    arrive(holding, message(redelivered=True, earlier=1, tag=7))

    assert holding.renew(f"{ID}:1", now=1)

    holding.promote(LEASE * 2)
    assert list(holding.lend(10, now=LEASE * 2)) == []
    assert holding.held[ID].tag == 7


def test_what_is_held_when_the_connection_is_lost_is_taken_over_when_it_comes_again(holding: Holding) -> None:
    arrive(holding, message(tag=1))
    list(holding.lend(1, now=0))

    holding.connection_lost()
    assert holding.held[ID].tag is None
    assert arrive(holding, message(tag=9, redelivered=True, earlier=1)) is Verdict.KEEP

    assert holding.held[ID].tag == 9
    assert holding.held[ID].receipt == f"{ID}:1"


def test_what_was_never_lent_when_the_connection_was_lost_is_lent_at_once(holding: Holding) -> None:
    arrive(holding, message())

    holding.connection_lost()

    assert arrive(holding, message(tag=2, redelivered=True)) is Verdict.LEND


def test_what_was_settled_while_it_was_away_is_settled_when_it_comes(holding: Holding) -> None:
    holding.decide(f"{ID}:1", FORGET, 0.0)
    holding.decide(f"{OTHER}:1", Fate(False, earlier=1, not_before=5.0), 0.0)

    assert arrive(holding, message(redelivered=True)) is Verdict.FORGET
    assert holding.arrive(message(OTHER, redelivered=True), 0, 0) == (Verdict.SEND_AGAIN, Fate(False, 1, 5.0))


def test_an_acknowledgement_that_got_lost_is_made_again(holding: Holding) -> None:
    arrive(holding, message())
    list(holding.lend(1, now=0))
    holding.forget(ID)

    assert arrive(holding, message(tag=2, redelivered=True, earlier=1)) is Verdict.FORGET


def test_what_is_done_and_not_acknowledged_is_owed_until_it_comes_or_for_two_leases(holding: Holding) -> None:
    holding.decide(f"{ID}:1", FORGET, 0.0)
    holding.decide(f"{OTHER}:1", FORGET, 0.0)
    assert holding.owed(0.0) == 2

    arrive(holding, message(redelivered=True))

    assert holding.owed(LEASE) == 1
    assert holding.owed(2 * LEASE) == 0


def test_a_copy_of_what_is_held_is_dropped(holding: Holding) -> None:
    arrive(holding, message(tag=1))
    list(holding.lend(1, now=0))

    assert arrive(holding, message(tag=2)) is Verdict.FORGET
    assert holding.held[ID].tag == 1


def test_a_message_that_is_too_early_waits_until_it_is_due(holding: Holding) -> None:
    assert arrive(holding, message(not_before=101.5), now=10, clock=100) is Verdict.KEEP
    assert holding.next_due() == 11.5

    holding.promote(11.5)

    assert len(list(holding.lend(1, now=11.5))) == 1


def test_a_lease_that_nobody_renews_ends(holding: Holding) -> None:
    arrive(holding, message())
    (held,) = holding.lend(1, now=0)
    holding.renew(held.receipt, now=LEASE / 2)

    assert holding.expired(LEASE) == []
    assert holding.expired(LEASE * 1.5) == [held]


@pytest.mark.parametrize("receipt", ["", "nonsense", "1:2:3", f"{ID}:", f"{ID}:x", f"{ID[:-1]}:1", "é"])
def test_nonsense_is_nobodys_receipt(holding: Holding, receipt: str) -> None:
    holding.decide(receipt, FORGET, 0.0)

    assert not holding.renew(receipt, now=0)
    assert holding.take(receipt) is None


def test_a_receipt_of_another_attempt_settles_nothing(holding: Holding) -> None:
    arrive(holding, message(earlier=1))
    list(holding.lend(1, now=0))

    holding.decide(f"{ID}:1", FORGET, 0.0)

    assert holding.take(f"{ID}:1") is None
    assert holding.take(f"{ID}:2") is not None
    assert not holding.renew(f"{ID}:1", now=0)


def test_memory_of_the_past_has_a_bound(holding: Holding) -> None:
    for number in range(MEMORY + 10):
        holding.forget(f"{number:032x}")

    assert arrive(holding, message(f"{0:032x}")) is Verdict.LEND
    assert arrive(holding, message(f"{MEMORY:032x}")) is Verdict.FORGET
