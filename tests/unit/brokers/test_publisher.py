"""What a broker cannot do is refused with a sentence, or kept until it can."""

from __future__ import annotations

from typing import Any

import pytest

from django_cluster.brokers.capabilities import Capabilities
from django_cluster.brokers.memory import MemoryBroker
from django_cluster.brokers.messages import Message
from django_cluster.brokers.publisher import Publisher, split_by_delay
from django_cluster.core.queue_names import delay_queue_in_table
from django_cluster.core.settings.named_values import MAX_NAME_LENGTH
from django_cluster.errors import BrokerRefused, NotSupported, PayloadTooLarge
from tests.conftest import make_settings

NOW = 1_000.0


def broker(**capabilities: Any) -> MemoryBroker:
    made = MemoryBroker(make_settings().broker)
    made.capabilities = Capabilities(**capabilities)
    return made


def test_a_priority_that_would_be_ignored_is_refused() -> None:
    with pytest.raises(NotSupported, match=r"MemoryBroker has no priorities, and the task asks for 5"):
        Publisher(broker(priority=False)).check([Message("a"), Message("b", priority=5)])


def test_a_payload_that_is_too_large_is_refused_with_both_sizes() -> None:
    with pytest.raises(PayloadTooLarge, match=r"11 bytes .* takes 10"):
        Publisher(broker(max_payload=10)).check([Message("x" * 10), Message("x" * 11)])


def test_both_refusals_are_refusals_of_the_broker() -> None:
    assert issubclass(NotSupported, BrokerRefused)
    assert issubclass(PayloadTooLarge, BrokerRefused)


def test_what_the_broker_can_do_is_not_looked_at() -> None:
    assert not Capabilities().limited

    Publisher(broker()).check([Message("x" * 100_000, priority=100, not_before=1e12)])


@pytest.mark.parametrize(
    ("longest", "kept"),
    [(0.0, ["soon", "late"]), (60.0, ["late"]), (float("inf"), [])],
    ids=["delays nothing", "delays a minute", "delays anything"],
)
def test_only_what_the_broker_cannot_delay_is_kept(longest: float, kept: list[str]) -> None:
    messages = [
        Message("now"),
        Message("past", not_before=NOW - 5),
        Message("soon", not_before=NOW + 30),
        Message("late", not_before=NOW + 90),
    ]

    sent, held = split_by_delay(messages, longest, NOW)

    assert [each.payload for each in held] == kept
    assert {each.payload for each in sent}.isdisjoint(kept)
    assert len(sent) + len(held) == 4


def test_delay_queues_of_different_queues_have_different_names_that_fit() -> None:
    long = "q" * MAX_NAME_LENGTH
    names = [
        delay_queue_in_table("shop", alias, queue)
        for alias in ("", "audit")
        for queue in ("a", "b", long, f"{long[:-1]}r")
    ]

    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= MAX_NAME_LENGTH
