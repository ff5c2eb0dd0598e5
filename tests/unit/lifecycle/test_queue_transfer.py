"""From one queue into another: order, priority, delay and attempts are kept, and nothing falls between the two."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from typing import Any

import pytest

from django_cluster.brokers.base import Broker
from django_cluster.brokers.capabilities import Capabilities
from django_cluster.brokers.memory import MemoryBroker
from django_cluster.brokers.messages import Message
from django_cluster.core.codec import Codec
from django_cluster.core.messages import TaskHeader, TaskOptions, TaskPackage
from django_cluster.errors import BrokerUnavailable
from django_cluster.lifecycle.queue_transfer import QueueTransfer, priority_of
from tests.conftest import make_settings
from tests.fields import fields

SETTINGS = make_settings()
CODEC = Codec(SETTINGS.signing)
LATER = time.time() + 3600


def queue(name: str, kind: type[MemoryBroker] = MemoryBroker, **capabilities: Any) -> MemoryBroker:
    broker = kind(make_settings(broker={"queue": name}).broker)
    broker.capabilities = Capabilities(**{"cancel": True, **capabilities})
    return broker


@pytest.fixture
def source() -> MemoryBroker:
    return queue("source")


@pytest.fixture
def target() -> MemoryBroker:
    return queue("target")


def packed(number: int, **options: Any) -> str:
    header = TaskHeader(
        id=f"{number:032x}", name=f"task {number}", func="a.b", enqueued_at=1.0, options=TaskOptions(**options)
    )
    return CODEC.dumps(TaskPackage(header=header, args=(number,)))


def payloads(broker: Broker) -> list[str]:
    return [each.payload for each in broker.peek(10_000)]


def test_ready_messages_arrive_in_their_order_and_leave_nothing_behind(
    source: MemoryBroker, target: MemoryBroker
) -> None:
    source.enqueue([Message(str(number)) for number in range(1_234)])

    moved = QueueTransfer(source, target).run()

    assert fields(moved, "ready", "delayed", "refused", "duplicated") == {
        "ready": 1_234,
        "delayed": 0,
        "refused": [],
        "duplicated": 0,
    }
    assert payloads(target) == [str(number) for number in range(1_234)]
    assert source.size().total == 0


def test_priorities_are_kept(source: MemoryBroker, target: MemoryBroker) -> None:
    low, high = packed(1), packed(2, priority=50)
    source.enqueue([Message(low), Message(high, priority=50)])

    QueueTransfer(source, target).run()
    target.enqueue([Message("between", priority=10)])

    assert payloads(target) == [high, "between", low]


def test_attempts_are_kept_and_moving_costs_none(source: MemoryBroker, target: MemoryBroker) -> None:
    source.enqueue([Message("tried twice", attempts=2), Message("new")])

    QueueTransfer(source, target).run()

    assert [(each.payload, each.attempts) for each in target.peek()] == [("tried twice", 2), ("new", 0)]


def test_delayed_messages_keep_their_moment_priority_and_attempts(source: MemoryBroker, target: MemoryBroker) -> None:
    source.enqueue(
        [Message("later", priority=7, not_before=LATER, attempts=3), Message("latest", not_before=LATER + 5)]
    )

    moved = QueueTransfer(source, target).run()

    assert moved.delayed == 2
    assert [(each.payload, each.priority, each.attempts, each.due) for each in target.peek()] == [
        ("later", 7, 3, LATER),
        ("latest", 0, 0, LATER + 5),
    ]
    assert source.size().total == 0


def test_what_becomes_due_in_a_moment_waits_until_it_can_be_leased(source: MemoryBroker, target: MemoryBroker) -> None:
    source.enqueue([Message("soon", not_before=time.time() + 2), Message("later", not_before=LATER)])

    QueueTransfer(source, target).run()

    assert (payloads(source), payloads(target)) == (["soon"], ["later"])


def test_what_is_leased_to_others_stays_theirs(source: MemoryBroker, target: MemoryBroker) -> None:
    source.enqueue([Message("running"), Message("waiting")])
    (running,) = source.lease(1)

    QueueTransfer(source, target).run()

    assert payloads(target) == ["waiting"]
    assert source.renew([running.receipt]) == []


def test_no_more_than_the_limit_is_moved(source: MemoryBroker, target: MemoryBroker) -> None:
    source.enqueue([Message(str(number)) for number in range(5)])
    source.enqueue([Message("later", not_before=LATER), Message("latest", not_before=LATER)])

    assert QueueTransfer(source, target).run(limit=3).total == 3
    assert payloads(target) == ["0", "1", "2"]
    assert QueueTransfer(source, target).run(limit=3).total == 3
    assert payloads(source) == ["latest"]


def test_what_was_tampered_with_is_moved_as_it_is(source: MemoryBroker, target: MemoryBroker) -> None:
    damaged = packed(1)[:-7] + "AAAAAA="
    source.enqueue([Message("no package at all"), Message(damaged)])

    QueueTransfer(source, target).run()

    assert payloads(target) == ["no package at all", damaged]


def test_what_the_target_refuses_stays_and_the_rest_goes(source: MemoryBroker) -> None:
    target = queue("target", max_payload=5)
    source.enqueue([Message("one"), Message("far too large"), Message("two")])
    source.enqueue([Message("much too large", not_before=LATER), Message("later", not_before=LATER)])

    moved = QueueTransfer(source, target).run()

    assert payloads(target) == ["one", "two", "later"]
    assert payloads(source) == ["far too large", "much too large"]
    assert len(moved.refused) == 2
    assert source.lease(1)[0].attempt == 1


class Away(MemoryBroker):
    def enqueue(self, messages: Sequence[Message]) -> None:
        raise BrokerUnavailable("away")


def test_a_target_that_is_unavailable_leaves_everything_where_it_was(source: MemoryBroker) -> None:
    source.enqueue([Message("a"), Message("b")])

    with pytest.raises(BrokerUnavailable):
        QueueTransfer(source, queue("target", Away)).run()

    assert [(each.payload, each.attempts, each.leased) for each in source.peek()] == [("a", 0, False), ("b", 0, False)]


class LentMeanwhile(MemoryBroker):
    """Somebody is lent what has been copied before it can be withdrawn."""

    def cancel(self, keys: Sequence[str]) -> int:
        return super().cancel(keys[1:])


def test_what_was_leased_before_it_could_be_cancelled_is_told(target: MemoryBroker) -> None:
    source = queue("source", LentMeanwhile)
    source.enqueue([Message("a", not_before=LATER), Message("b", not_before=LATER)])

    assert QueueTransfer(source, target).run(limit=2).duplicated == 1


def test_a_source_that_shows_nothing_keeps_its_delayed_messages(target: MemoryBroker) -> None:
    source = queue("source", peek=False)
    source.enqueue([Message("ready"), Message("later", not_before=LATER)])

    QueueTransfer(source, target).run()

    assert payloads(target) == ["ready"]


def test_a_target_without_priorities_gets_none(source: MemoryBroker) -> None:
    target = queue("target", priority=False)
    source.enqueue([Message(packed(1, priority=9), priority=9)])

    QueueTransfer(source, target).run()

    assert target.peek()[0].priority == 0


NASTY_LABELS = ["NaN", "Infinity", "-Infinity", "1e999", "true", '"7"', "[7]", "7.5", "1" * 400, "1" * 5000, "null"]


def with_label(options: str) -> str:
    """Signed by nobody; the options stand there as they are given."""
    label = '{"v":1,"id":"x","name":"n","func":"a.b","at":1.0,"options":' + options + "}"
    return f"dc1p:{base64.b64encode(label.encode() + bytes([10])).decode()}:AAAA"


@pytest.mark.parametrize("value", NASTY_LABELS, ids=lambda value: value[:9])
@pytest.mark.parametrize("option", ["priority", "timeout", "not_before", "member"])
def test_an_unsigned_header_holds_up_no_other(
    option: str, value: str, source: MemoryBroker, target: MemoryBroker
) -> None:
    nasty = with_label(f'{{"{option}":{value}}}')
    source.enqueue([Message(packed(1)), Message(nasty), Message(packed(2, priority=5), priority=5)])

    moved = QueueTransfer(source, target).run()

    assert (moved.ready, moved.refused) == (3, [])
    assert sorted(payloads(target)) == sorted([packed(1), nasty, packed(2, priority=5)])
    assert source.size().total == 0


class Fastidious(MemoryBroker):
    """Its library fails for a value that it does not like."""

    def enqueue(self, messages: Sequence[Message]) -> None:
        if any("\0" in each.payload or each.payload == "boo" for each in messages):
            raise ValueError("A string literal cannot contain NUL (0x00) characters.")
        super().enqueue(messages)


@pytest.mark.parametrize("nasty", ["\0", "a\0b", "boo"])
def test_a_message_that_the_target_cannot_take_stays_and_the_others_move(nasty: str, source: MemoryBroker) -> None:
    target = queue("fastidious", Fastidious)
    source.enqueue([Message(text) for text in ("1", "2", nasty, "3", "4")])

    moved = QueueTransfer(source, target).run()

    assert (moved.ready, len(moved.refused)) == (4, 1)
    assert "NUL" in moved.refused[0]
    assert payloads(target) == ["1", "2", "3", "4"]
    assert [(each.payload, each.attempts, each.leased) for each in source.peek()] == [(nasty, 0, False)]


def test_a_label_that_lies_about_its_priority_goes_no_further_than_allowed() -> None:
    assert priority_of(packed(1, priority=10**9)) == 100
    assert priority_of("nonsense") == 0
