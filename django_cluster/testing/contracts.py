"""``BrokerContract``: what every broker promises, as tests that each adapter inherits.

Needs pytest. A test module of an adapter says how it is opened, and gets the suite::

    class TestKafkaBroker(BrokerContract):
        @pytest.fixture
        def open_another(self, kafka_server):
            queue = uuid4().hex          # a queue of its own for each test

            def open_another(**changes):
                section = BrokerSettings(kind="my.kafka.KafkaBroker", queue=queue, options={...})
                return KafkaBroker(replace(section, **changes))

            return open_another

``open_another`` may be called often, in threads and in forked children: each call returns a new broker for
the same queue. Tests of what the adapter's ``capabilities`` deny are skipped. A broker with a server passes
``UnreachableContract`` as well.
"""

from __future__ import annotations

import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import ClassVar

import pytest

from django_cluster.brokers.base import Broker, Delivery, Message, QueueSize
from django_cluster.errors import BrokerUnavailable, PayloadTooLarge

Opener = Callable[..., Broker]

SHORT = 0.4
"""Seconds: a lease that a test waits out."""

PATIENCE = 10.0
"""Seconds within which things have to come true; generous, because the machine may be busy."""


def messages(*payloads: str, priority: int = 0, not_before: float | None = None) -> list[Message]:
    return [Message(payload, priority, not_before) for payload in payloads]


def payloads(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.payload for delivery in deliveries]


def receipts(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.receipt for delivery in deliveries]


def lease_all(broker: Broker, count: int) -> list[Delivery]:
    """Lend until there are so many; fails if they do not come."""
    deliveries: list[Delivery] = []
    deadline = time.monotonic() + PATIENCE
    while len(deliveries) < count:
        deliveries += broker.lease(count - len(deliveries), wait=0.2)
        assert time.monotonic() < deadline, f"only {len(deliveries)} of {count} messages came"
    return deliveries


def eventually(condition: Callable[[], object]) -> None:
    """Return when the condition holds; fail if it does not."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


class BrokerContract:
    """Inherit, and give the fixture ``open_another``."""

    many: ClassVar[int] = 5000
    """Messages in the test of many; fewer for a server that takes them one by one."""

    @pytest.fixture
    def open_another(self) -> Opener:
        raise NotImplementedError("the test class of an adapter has to define the fixture open_another")

    @pytest.fixture
    def broker(self, open_another: Opener) -> Iterator[Broker]:
        broker = open_another()
        broker.prepare()
        yield broker
        broker.purge()
        broker.close()

    # -- to keep and to lend --------------------------------------------------------------------------

    def test_what_is_enqueued_is_lent_with_its_payload_and_first_attempt(self, broker: Broker) -> None:
        broker.enqueue(messages("one"))

        (delivery,) = broker.lease(10)

        assert delivery.payload == "one"
        assert delivery.attempt == 1
        assert delivery.receipt

    def test_an_empty_queue_lends_nothing(self, broker: Broker) -> None:
        assert list(broker.lease(10)) == []

    def test_enqueueing_nothing_changes_nothing(self, broker: Broker) -> None:
        broker.enqueue([])

        assert broker.size() == QueueSize(0, 0, 0)

    def test_messages_are_lent_in_the_order_of_enqueueing(self, broker: Broker) -> None:
        names = [f"message {number}" for number in range(30)]
        broker.enqueue(messages(*names[:10]))
        for name in names[10:]:
            broker.enqueue(messages(name))

        first, rest = lease_all(broker, 7), lease_all(broker, 23)

        self.check_order(broker, payloads(first) + payloads(rest), names)

    def test_a_lease_is_limited_and_the_rest_stays(self, broker: Broker) -> None:
        broker.enqueue(messages("1", "2", "3"))

        first, second = broker.lease(2), broker.lease(2)

        self.check_order(broker, payloads(first) + payloads(second), ["1", "2", "3"])
        assert (len(first), len(second)) == (2, 1)

    def test_higher_priorities_go_first_and_equals_in_their_order(self, broker: Broker) -> None:
        self.needs(broker, "priority")
        broker.enqueue(messages("low", priority=-100))
        broker.enqueue([Message("a", 0), Message("urgent a", 100), Message("b", 0), Message("urgent b", 100)])
        broker.enqueue(messages("high", priority=5))

        assert payloads(broker.lease(10)) == ["urgent a", "urgent b", "high", "a", "b", "low"]

    def test_attempts_at_an_earlier_broker_are_counted_on(self, broker: Broker) -> None:
        self.needs(broker, "counts_attempts")
        broker.enqueue([Message("moved", attempts=3)])
        broker.enqueue([Message("moved too", attempts=1), Message("new")])

        numbers = {each.payload: each.attempt for each in lease_all(broker, 3)}

        assert numbers == {"moved": 4, "moved too": 2, "new": 1}

    def test_equal_payloads_are_different_messages(self, broker: Broker) -> None:
        broker.enqueue(messages("same", "same"))
        if broker.capabilities.delay:
            broker.enqueue(messages("same", "same", not_before=time.time() + 0.05))

        assert len(set(receipts(lease_all(broker, broker.size().total)))) in (2, 4)

    def test_a_payload_of_a_megabyte_arrives_whole(self, broker: Broker) -> None:
        payload = "0123456789abcdef" * 65536
        payload = payload[: broker.capabilities.max_payload]
        broker.enqueue(messages(payload, "small", payload))

        self.check_order(broker, payloads(lease_all(broker, 3)), [payload, "small", payload])

    def test_a_payload_that_is_too_large_is_refused_with_its_size(self, broker: Broker) -> None:
        if broker.capabilities.max_payload is None:
            pytest.skip(f"{type(broker).__name__} has no limit")
        size = broker.capabilities.max_payload + 1

        with pytest.raises(PayloadTooLarge, match=str(size)):
            broker.enqueue(messages("small", "x" * size))

        assert broker.size().total == 0

    def test_payloads_keep_their_punctuation(self, broker: Broker) -> None:
        odd = ["0:0:x", "::", "%s %d %%", "'\"\\;--", "-1:", "a\nb", " "]
        broker.enqueue(messages(*odd))

        self.check_order(broker, payloads(lease_all(broker, len(odd))), odd)

    def test_many_messages_in_one_call(self, broker: Broker) -> None:
        names = [str(number) for number in range(self.many)]

        broker.enqueue(messages(*names))

        assert broker.size().total == self.many
        self.check_order(broker, payloads(lease_all(broker, self.many)), names)

    def test_queues_do_not_mix(self, broker: Broker, open_another: Opener) -> None:
        other = open_another(queue=f"{broker.queue}-other")
        broker.enqueue(messages("here"))
        other.enqueue(messages("there"))

        assert payloads(other.lease(10)) == ["there"]
        assert other.purge() == 1
        assert payloads(broker.lease(10)) == ["here"]
        other.close()

    # -- leases ---------------------------------------------------------------------------------------

    def test_what_is_lent_is_not_lent_again(self, broker: Broker, open_another: Opener) -> None:
        broker.enqueue(messages("one"))
        broker.lease(1)

        assert list(broker.lease(1)) == []
        another = open_another()
        assert list(another.lease(1)) == []
        another.close()

    def test_an_ended_lease_comes_back_with_another_receipt_and_attempt(self, open_another: Opener) -> None:
        broker = open_another(lease=SHORT)
        broker.enqueue(messages("one"))
        (first,) = broker.lease(1)

        (second,) = lease_all(broker, 1)

        assert second.payload == "one"
        assert second.receipt != first.receipt
        assert second.attempt == (2 if broker.capabilities.counts_attempts else 1)

    def test_an_ended_lease_comes_back_while_a_broker_waits(self, open_another: Opener) -> None:
        broker = open_another(lease=SHORT)
        broker.enqueue(messages("one"))
        broker.lease(1)

        assert payloads(broker.lease(1, wait=PATIENCE)) == ["one"]

    def test_ended_leases_come_back_in_front_of_what_waits(self, open_another: Opener) -> None:
        broker, patient = open_another(lease=SHORT), open_another(lease=60)
        self.needs(broker, "receipts_travel", "front")
        broker.enqueue(messages("1", "2", "3"))
        broker.lease(2)

        eventually(lambda: broker.size().ready == 3)

        assert payloads(patient.lease(10)) == ["1", "2", "3"]
        patient.close()

    def test_renewing_keeps_a_lease_beyond_its_first_end(self, open_another: Opener) -> None:
        broker, another = open_another(lease=1.0), open_another()
        broker.enqueue(messages("one"))
        held = receipts(broker.lease(1))
        end = time.monotonic() + 1.6

        while time.monotonic() < end:
            assert list(broker.renew(held)) == []
            assert list(another.lease(1)) == []

        another.close()

    def test_renewing_names_the_receipts_that_are_gone(self, broker: Broker) -> None:
        broker.enqueue(messages("1", "2", "3"))
        held = receipts(broker.lease(3))
        broker.acknowledge(held[1:2])

        assert list(broker.renew([*held, "nonsense"])) == [held[1], "nonsense"]
        assert list(broker.renew([])) == []

    # -- the end of a delivery ------------------------------------------------------------------------

    def test_an_acknowledged_message_never_comes_back(self, open_another: Opener) -> None:
        broker = open_another(lease=SHORT)
        broker.enqueue(messages("1", "2"))
        broker.acknowledge(receipts(broker.lease(2)))

        assert list(broker.lease(1, wait=SHORT * 2)) == []
        assert broker.size().total == 0

    def test_a_discarded_message_never_comes_back(self, broker: Broker) -> None:
        broker.enqueue(messages("garbage"))

        broker.discard(receipts(broker.lease(1)))

        assert broker.size().total == 0

    def test_a_released_message_goes_to_the_front(self, broker: Broker) -> None:
        broker.enqueue(messages("1", "2", "3", "4"))
        held = receipts(broker.lease(2))

        broker.release(held)

        came = payloads(lease_all(broker, 4))
        assert came == ["1", "2", "3", "4"] if broker.capabilities.front else sorted(came) == ["1", "2", "3", "4"]

    def test_a_begun_run_counts(self, broker: Broker) -> None:
        self.needs(broker, "counts_attempts")
        broker.enqueue(messages("one"))

        broker.release(receipts(lease_all(broker, 1)))

        assert lease_all(broker, 1)[0].attempt == 2

    def test_a_begun_run_counts_and_an_unbegun_does_not(self, broker: Broker) -> None:
        self.needs(broker, "counts_attempts", "refunds")
        broker.enqueue(messages("one"))

        broker.release(receipts(broker.lease(1)), begun=False)
        (unbegun,) = broker.lease(1)
        broker.release([unbegun.receipt])
        (begun,) = broker.lease(1)

        assert (unbegun.attempt, begun.attempt) == (1, 2)

    def test_a_message_released_with_a_delay_comes_back_later(self, broker: Broker) -> None:
        broker.enqueue(messages("one", "two"))
        held = receipts(broker.lease(1))

        started = time.monotonic()
        broker.release(held, delay=0.5)
        self.check_size(broker, ready=1, delayed=1)
        deliveries = lease_all(broker, 2)

        assert {delivery.payload: delivery.attempt for delivery in deliveries} == {"two": 1, "one": 2}
        assert payloads(deliveries) == ["two", "one"]
        assert time.monotonic() - started >= 0.45

    def test_a_released_message_keeps_its_priority(self, broker: Broker) -> None:
        self.needs(broker, "priority")
        broker.enqueue(messages("high", priority=9) + messages("1", "2"))
        held = receipts(broker.lease(2))

        broker.release(held)

        assert payloads(broker.lease(10)) == ["high", "1", "2"]

    @pytest.mark.parametrize("end", ["acknowledge", "discard", "release"])
    def test_a_receipt_of_an_earlier_lease_changes_nothing(self, open_another: Opener, end: str) -> None:
        broker, patient = open_another(lease=SHORT), open_another(lease=60)
        self.needs(broker, "receipts_travel")
        broker.enqueue(messages("one"))
        stale = receipts(broker.lease(1))
        held = receipts(lease_all(patient, 1))

        getattr(broker, end)(stale)

        assert list(broker.renew(stale)) == stale
        self.check_size(broker, leased=1)
        assert list(patient.renew(held)) == []
        patient.close()

    def test_a_receipt_of_a_released_message_changes_nothing(self, broker: Broker) -> None:
        broker.enqueue(messages("one"))
        held = receipts(broker.lease(1))
        broker.release(held)

        if broker.capabilities.fenced:
            broker.acknowledge(held)
        broker.release(held, begun=False)

        assert list(broker.renew(held)) == held
        assert payloads(lease_all(broker, 1)) == ["one"]

    def test_nonsense_for_a_receipt_is_ignored(self, broker: Broker) -> None:
        broker.enqueue(messages("one"))
        held = receipts(broker.lease(1))

        broker.acknowledge(["", "nonsense", "1:2:3", "-1:0", "0:0", "é"])
        broker.release([])
        broker.acknowledge([])

        assert list(broker.renew(held)) == []

    def test_another_broker_can_end_what_this_one_leased(self, broker: Broker, open_another: Opener) -> None:
        self.needs(broker, "receipts_travel")
        monitor = open_another()
        broker.enqueue(messages("one"))

        monitor.acknowledge(receipts(broker.lease(1)))

        assert broker.size().total == 0
        monitor.close()

    # -- delays ---------------------------------------------------------------------------------------

    def test_a_delayed_message_waits_for_its_time(self, broker: Broker) -> None:
        self.needs(broker, "delay")
        due = time.time() + 0.6
        broker.enqueue(messages("later", not_before=due))
        broker.enqueue(messages("now"))

        assert payloads(lease_all(broker, 1)) == ["now"]
        self.check_size(broker, delayed=1, leased=1)
        assert payloads(broker.lease(10, wait=PATIENCE)) == ["later"]
        assert time.time() >= due - 0.05

    def test_a_moment_in_the_past_is_no_delay(self, broker: Broker) -> None:
        broker.enqueue(messages("old", not_before=time.time() - 3600))

        assert payloads(broker.lease(10)) == ["old"]

    def test_delayed_messages_keep_their_priority(self, broker: Broker) -> None:
        self.needs(broker, "delay")
        self.needs(broker, "priority")
        due = time.time() + 0.3
        broker.enqueue(messages("low", priority=-1, not_before=due) + messages("high", priority=1, not_before=due))

        eventually(lambda: broker.size().ready == 2)

        assert payloads(lease_all(broker, 2)) == ["high", "low"]

    # -- waiting --------------------------------------------------------------------------------------

    def test_a_wait_ends_when_nothing_comes(self, broker: Broker) -> None:
        started = time.monotonic()

        assert list(broker.lease(1, wait=0.3)) == []

        assert 0.25 <= time.monotonic() - started < PATIENCE

    def test_a_waiting_broker_hears_of_a_message_from_another(self, broker: Broker, open_another: Opener) -> None:
        came: list[Delivery] = []

        def wait_for_one() -> None:
            waiting = open_another()
            came.extend(waiting.lease(1, wait=PATIENCE))
            waiting.close()

        waiter = Thread(target=wait_for_one)
        waiter.start()
        broker.lease(1, wait=0.3)  # so that the other one waits when the message comes, most of the time
        broker.enqueue(messages("one"))
        waiter.join(3)

        assert payloads(came) == ["one"]

    def test_every_waiting_broker_is_served(self, broker: Broker, open_another: Opener) -> None:
        def wait_for_one(_: int) -> Sequence[Delivery]:
            waiting = open_another()
            deliveries = waiting.lease(1, wait=PATIENCE)
            waiting.close()
            return deliveries

        with ThreadPoolExecutor(3) as pool:
            waiters = [pool.submit(wait_for_one, number) for number in range(3)]
            broker.enqueue(messages("1", "2", "3"))
            came = [delivery for waiter in waiters for delivery in waiter.result(PATIENCE * 2)]

        assert sorted(payloads(came)) == ["1", "2", "3"]

    # -- many at once ---------------------------------------------------------------------------------

    def test_brokers_that_lease_at_the_same_time_share_each_message_once(
        self, broker: Broker, open_another: Opener
    ) -> None:
        names = [str(number) for number in range(400)]
        broker.enqueue(messages(*names))

        def take_all(_: int) -> list[str]:
            mine, taken = open_another(), []
            while deliveries := mine.lease(7):
                taken += payloads(deliveries)
                mine.acknowledge(receipts(deliveries))
            mine.close()
            return taken

        with ThreadPoolExecutor(4) as pool:
            taken = [name for names in pool.map(take_all, range(4)) for name in names]
        taken += payloads(broker.lease(400))  # a broker may see an empty queue while others hold its end

        assert sorted(taken, key=int) == names

    def test_many_can_enqueue_at_the_same_time(self, broker: Broker, open_another: Opener) -> None:
        def enqueue_some(number: int) -> None:
            mine = open_another()
            for place in range(25):
                mine.enqueue(messages(f"{number}-{place}"))
            mine.close()

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(enqueue_some, range(4)))

        assert len(set(payloads(lease_all(broker, 100)))) == 100

    def test_a_forked_child_with_a_broker_of_its_own_does_not_disturb_its_parent(
        self, broker: Broker, open_another: Opener
    ) -> None:
        broker.enqueue(messages("before"))
        broker.close()
        child = multiprocessing.get_context("fork").Process(target=_use, args=(open_another,))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking where threads have been
            child.start()
        broker.enqueue(messages("during"))
        child.join(PATIENCE)

        assert child.exitcode == 0
        broker.enqueue(messages("after"))
        assert "after" in payloads(lease_all(broker, 3))

    # -- to look --------------------------------------------------------------------------------------

    def test_the_size_tells_ready_delayed_and_leased_apart(self, broker: Broker) -> None:
        broker.enqueue(messages("1", "2", "3", "4"))
        broker.lease(1)
        if broker.capabilities.delay:
            broker.enqueue(messages("later", "much later", not_before=time.time() + self.far(broker)))

        self.check_size(broker, ready=3, delayed=2 if broker.capabilities.delay else 0, leased=1)

    def test_looking_shows_everything_and_takes_nothing(self, broker: Broker) -> None:
        self.needs(broker, "peek")
        self.needs(broker, "delay")
        due = time.time() + 3600
        broker.enqueue(messages("lent"))
        broker.lease(1)
        broker.enqueue(messages("later", priority=3, not_before=due) + messages("urgent", priority=7) + messages("a"))

        seen = broker.peek()

        assert [(each.payload, each.priority, each.attempts, each.leased) for each in seen] == [
            ("urgent", 7, 0, False),
            ("a", 0, 0, False),
            ("lent", 0, 1, True),
            ("later", 3, 0, False),
        ]
        assert [each.due is None for each in seen] == [True, True, False, False]
        assert abs((seen[3].due or 0) - due) < 0.01
        assert [each.payload for each in broker.peek(limit=1)] == ["urgent"]
        assert payloads(broker.lease(10)) == ["urgent", "a"]

    def test_what_waits_can_be_withdrawn_by_its_key_and_the_rest_stays(self, broker: Broker) -> None:
        self.needs(broker, "withdraw")
        broker.enqueue(messages("first", "second", "third") + messages("urgent", priority=5))
        if broker.capabilities.delay:
            broker.enqueue(messages("later", "much later", not_before=time.time() + 3600))
        keys = {each.payload: each.key for each in broker.peek()}

        assert broker.withdraw([keys[name] for name in ("second", "urgent", "later") if name in keys]) == len(keys) // 2

        left = ["first", "third", *(["much later"] if broker.capabilities.delay else [])]
        assert [each.payload for each in broker.peek()] == left
        assert payloads(broker.lease(10)) == ["first", "third"]

    def test_what_is_lent_or_gone_or_unknown_is_not_withdrawn(self, broker: Broker) -> None:
        self.needs(broker, "withdraw")
        broker.enqueue(messages("gone", "lent"))
        keys = [each.key for each in broker.peek()]
        gone, lent = broker.lease(2)
        broker.acknowledge([gone.receipt])

        assert broker.withdraw([*keys, "1", "x" * 40, "9" * 40, "", "1; DROP"]) == 0

        assert list(broker.renew([lent.receipt])) == []
        assert broker.withdraw([]) == 0

    def test_a_message_that_came_back_keeps_its_key_and_can_be_withdrawn(
        self, broker: Broker, open_another: Opener
    ) -> None:
        self.needs(broker, "withdraw")
        broker.enqueue(messages("given back", "put off", "forgotten"))
        keys = [each.key for each in broker.peek()]
        back, off = receipts(broker.lease(2))
        hasty = open_another(lease=SHORT)
        hasty.lease(1)  # and its holder dies
        broker.release([back])
        broker.release([off], delay=3600)

        assert sorted(each.key for each in broker.peek()) == sorted(keys)
        eventually(lambda: broker.size() == QueueSize(ready=2, delayed=1, leased=0))
        assert broker.withdraw(keys) == 3
        assert broker.size().total == 0
        hasty.close()

    def test_purging_forgets_everything_and_counts_it(self, broker: Broker) -> None:
        broker.enqueue(messages("1", "2", "3"))
        held = receipts(broker.lease(1))
        if broker.capabilities.delay:
            broker.enqueue(messages("later", not_before=time.time() + self.far(broker)))

        assert broker.purge() == (4 if broker.capabilities.delay else 3)

        assert broker.size().total == 0
        assert list(broker.renew(held)) == held
        assert broker.purge() == 0

    # -- the server -----------------------------------------------------------------------------------

    def test_the_server_answers_and_has_a_name(self, broker: Broker) -> None:
        broker.ping()

        assert broker.info()

    def test_a_closed_broker_opens_itself_again(self, broker: Broker) -> None:
        broker.enqueue(messages("one"))
        broker.close()
        broker.close()

        assert payloads(broker.lease(1)) == ["one"]

    def test_preparing_twice_does_no_harm(self, broker: Broker) -> None:
        broker.prepare()

        broker.ping()

    # -- helpers --------------------------------------------------------------------------------------

    @staticmethod
    def needs(broker: Broker, *capabilities: str) -> None:
        for capability in capabilities:
            if not getattr(broker.capabilities, capability):
                pytest.skip(f"{type(broker).__name__} has no {capability}")

    @staticmethod
    def far(broker: Broker) -> float:
        """Seconds of a delay that no test outlives."""
        return min(3600.0, broker.capabilities.max_delay or 3600.0)

    @staticmethod
    def check_order(broker: Broker, came: list[str], expected: list[str]) -> None:
        """These and no others came, and in this order where the broker promises it."""
        assert came == expected if broker.capabilities.order else sorted(came) == sorted(expected)

    @staticmethod
    def check_size(broker: Broker, *, ready: int = 0, delayed: int = 0, leased: int = 0) -> None:
        """Where the broker only estimates, the sum counts."""
        size, expected = broker.size(), QueueSize(ready=ready, delayed=delayed, leased=leased)
        if broker.capabilities.exact_size:
            assert size == expected
        assert size.total == expected.total


class UnreachableContract:
    """For brokers with a server: inherit too, and give the fixture ``unreachable``."""

    gives_up_within = 10.0
    """Seconds."""

    some_receipt = "1:1"
    """One as the adapter gives them: of another it may know without its server that it lent nothing under it."""

    @pytest.fixture
    def unreachable(self) -> Broker:
        """A broker whose server is away."""
        raise NotImplementedError("the test class of an adapter has to define the fixture unreachable")

    @pytest.mark.parametrize(
        "verb",
        [
            lambda broker, _: broker.ping(),
            lambda broker, _: broker.enqueue(messages("lost")),
            lambda broker, _: broker.lease(1, wait=0.1),
            lambda broker, receipt: broker.acknowledge([receipt]),
            lambda broker, _: broker.size(),
        ],
        ids=["ping", "enqueue", "lease", "acknowledge", "size"],
    )
    def test_a_server_that_is_away_is_reported_in_time(
        self, unreachable: Broker, verb: Callable[[Broker, str], object]
    ) -> None:
        started = time.monotonic()

        with pytest.raises(BrokerUnavailable) as caught:
            verb(unreachable, self.some_receipt)

        assert time.monotonic() - started < self.gives_up_within
        assert caught.value.__cause__ is not None


def _use(open_another: Opener) -> None:
    """What the forked child does: every kind of traffic, on connections of its own."""
    broker = open_another()
    broker.enqueue(messages("from the child"))
    broker.acknowledge(receipts(broker.lease(1)))
    broker.close()
