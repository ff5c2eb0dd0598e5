"""Showing, cancelling, counting and purging messages, and questions to the server."""

from __future__ import annotations

import time

from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import QueueSize
from django_cluster.testing.broker_contract.base import (
    SHORT_LEASE_SECONDS,
    ContractBase,
    Opener,
    deliveries_of,
    eventually,
    messages,
    payloads,
    receipts,
)


class InspectionContract(ContractBase):
    def test_the_size_tells_ready_delayed_and_leased_apart(self, broker: Broker) -> None:
        broker.enqueue(messages("1", "2", "3", "4"))
        broker.lease(1)
        if broker.capabilities.delay:
            broker.enqueue(messages("later", "much later", not_before=time.time() + self.long_delay(broker)))

        self.check_size(broker, ready=3, delayed=2 if broker.capabilities.delay else 0, leased=1)

    def test_the_size_counts_what_others_have_sent(self, broker: Broker, open_another: Opener) -> None:
        self.check_size(broker)
        other = open_another()
        other.enqueue(messages("1", "2"))

        self.check_size(broker, ready=2)
        other.close()

    def test_looking_shows_everything_and_takes_nothing(self, broker: Broker) -> None:
        self.require(broker, "peek")
        self.require(broker, "delay")
        low, high = (3, 7) if broker.capabilities.priority else (0, 0)
        due = time.time() + 3600
        broker.enqueue(messages("lent"))
        broker.lease(1)
        broker.enqueue(messages("later", priority=low, not_before=due))
        broker.enqueue(messages("urgent", priority=high) + messages("a"))

        seen = broker.peek()

        assert [(each.payload, each.priority, each.attempts, each.leased) for each in seen] == [
            ("urgent", high, 0, False),
            ("a", 0, 0, False),
            ("lent", 0, 1, True),
            ("later", low, 0, False),
        ]
        assert [each.due is None for each in seen] == [True, True, False, False]
        assert -0.01 < (seen[3].due or 0) - due < 1.01  # a server may round up to whole seconds
        assert [each.payload for each in broker.peek(limit=1)] == ["urgent"]
        assert payloads(broker.lease(10)) == ["urgent", "a"]

    def test_what_waits_can_be_cancelled_by_its_key_and_the_rest_stays(self, broker: Broker) -> None:
        self.require(broker, "cancel")
        broker.enqueue(messages("first", "second", "third") + messages("urgent", priority=5))
        if broker.capabilities.delay:
            broker.enqueue(messages("later", "much later", not_before=time.time() + 3600))
        keys = {each.payload: each.key for each in broker.peek()}

        assert broker.cancel([keys[name] for name in ("second", "urgent", "later") if name in keys]) == len(keys) // 2

        left = ["first", "third", *(["much later"] if broker.capabilities.delay else [])]
        assert [each.payload for each in broker.peek()] == left
        assert payloads(broker.lease(10)) == ["first", "third"]

    def test_what_is_leased_or_gone_or_unknown_is_not_cancelled(self, broker: Broker) -> None:
        self.require(broker, "cancel")
        broker.enqueue(messages("gone", "lent"))
        keys = [each.key for each in broker.peek()]
        gone, lent = broker.lease(2)
        broker.acknowledge([gone.receipt])

        assert broker.cancel([*keys, "1", "x" * 40, "9" * 40, "", "1; DROP"]) == 0

        assert list(broker.renew([lent.receipt])) == []
        assert broker.cancel([]) == 0

    def test_a_message_that_came_back_keeps_its_key_and_can_be_cancelled(
        self, broker: Broker, open_another: Opener
    ) -> None:
        self.require(broker, "cancel")
        broker.enqueue(messages("given back", "put off", "forgotten"))
        keys = [each.key for each in broker.peek()]
        back, off = receipts(broker.lease(2))
        hasty = open_another(lease=SHORT_LEASE_SECONDS)
        hasty.lease(1)  # and its holder dies
        broker.release(deliveries_of([back]))
        broker.release(deliveries_of([off]), delay=3600)

        assert sorted(each.key for each in broker.peek()) == sorted(keys)
        eventually(lambda: broker.size() == QueueSize(ready=2, delayed=1, leased=0))
        assert broker.cancel(keys) == 3
        assert broker.size().total == 0
        hasty.close()

    def test_purging_forgets_everything_and_counts_it(self, broker: Broker) -> None:
        broker.enqueue(messages("1", "2", "3"))
        held = receipts(broker.lease(1))
        if broker.capabilities.delay:
            broker.enqueue(messages("later", not_before=time.time() + self.long_delay(broker)))

        assert broker.purge() == (4 if broker.capabilities.delay else 3)

        assert broker.size().total == 0
        assert list(broker.renew(held)) == held
        assert broker.purge() == 0

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
