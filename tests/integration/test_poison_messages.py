"""Messages that crash each process that reads them: pushers die of them in processes of their own."""

from __future__ import annotations

import os
import pickle
import signal
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from django_cluster.brokers.messages import Delivery, Message
from django_cluster.cluster.ipc.incarnation import ProcessRole
from django_cluster.cluster.roles import reject_quota
from django_cluster.cluster.roles.pusher import Pusher
from django_cluster.core.codec import Codec
from django_cluster.core.messages import Outcome, OutcomeStatus
from tests.integration.cluster_harness import CODEC, SETTINGS, ClusterHarness, PolledBroker, ids_of, package
from tests.integration.cluster_harness import harness as harness

DEADLY = 666
Told = tuple[list[Outcome], list[int], int]
"""What a pusher that lived has reported, which tasks it holds, and how many it leased at a time."""


class DeadlyCodec(Codec):
    """Ends its process when it looks at the task of this number, as a fault in C would, or a lack of memory."""

    def verify(self, text: str) -> bytes:
        body = super().verify(text)
        if b"%032x" % DEADLY in body:
            os.kill(os.getpid(), signal.SIGKILL)
        return body


class Lending(PolledBroker):
    """Lends what it is told, and remembers how much was asked for."""

    deliveries: Sequence[Delivery] = ()
    asked = 0

    def lease(self, limit: int, *args: Any, **more: Any) -> Sequence[Delivery]:
        self.asked = max(self.asked, limit)
        some, self.deliveries = self.deliveries[:limit], self.deliveries[limit:]
        return some


def live(harness: ClusterHarness, attempt: int, numbers: Sequence[int], kind: type[Lending] = Lending) -> Told | None:
    """One life of a pusher, to which these tasks are lent for the ``attempt``-th time; None if it was killed."""
    texts = [CODEC.dumps(package(number)) for number in numbers]

    def report() -> Told:
        incarnation = harness.incarnation(ProcessRole.PUSHER)
        broker = kind(SETTINGS.broker)
        broker.deliveries = [Delivery(str(place), text, attempt) for place, text in enumerate(texts)]
        codec = DeadlyCodec(SETTINGS.signing)
        pusher = Pusher(
            incarnation,
            harness.board,
            harness.control(incarnation),
            broker,
            codec,
            (SETTINGS.broker, SETTINGS.processes),
        )
        outcomes: list[Outcome] = []
        pusher._loss_reporter.report = outcomes.extend  # type: ignore[method-assign,assignment]
        while broker.deliveries:
            pusher._fetcher.fetch_now()
            pusher._fetcher.fetch(100)
        return outcomes, ids_of([(0, message.body) for message in pusher._assignments.unassigned]), broker.asked

    return in_a_process_of_its_own(report)


def in_a_process_of_its_own(report: Callable[[], Told]) -> Told | None:
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(write, zlib.compress(pickle.dumps(report())))
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as end:
        told = end.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    found: Told = pickle.loads(zlib.decompress(told))
    return found


def test_a_message_that_has_killed_three_pushers_is_put_aside_and_the_others_flow(harness: ClusterHarness) -> None:
    numbers = [1, 2, DEADLY, 3]

    assert [live(harness, attempt, numbers) for attempt in (1, 2, 3)] == [None, None, None]
    told = live(harness, 4, numbers)

    assert told is not None
    (aside,), held, at_a_time = told
    assert aside.status == OutcomeStatus.REJECTED
    assert aside.failure is not None
    assert "3 pushers have died" in aside.failure[1]
    assert aside.payload == CODEC.dumps(package(DEADLY))
    assert held == [1, 2, 3]
    assert at_a_time == 1


class Uncounting(Lending):
    """A broker that cannot say how often it has lent a message."""

    capabilities = replace(Lending.capabilities, counts_attempts=False)


def test_where_attempts_are_not_counted_three_deaths_are_noted(harness: ClusterHarness) -> None:
    assert [live(harness, 1, [DEADLY], Uncounting) for _ in range(3)] == [None, None, None]

    told = live(harness, 1, [1, DEADLY], Uncounting)

    assert told is not None
    assert [outcome.status for outcome in told[0]] == [OutcomeStatus.REJECTED]
    assert told[1] == [1]


def test_after_a_death_one_message_is_leased_at_a_time(harness: ClusterHarness) -> None:
    assert live(harness, 2, [DEADLY]) is None

    told = live(harness, 2, [1, 2, 3])

    assert told is not None
    assert (told[1], told[2]) == ([1, 2, 3], 1)


def test_a_pusher_that_dies_for_another_reason_makes_no_message_suspect(harness: ClusterHarness) -> None:
    for attempt in (1, 2, 3, 4, 5):
        told = live(harness, attempt, [1, 2])
        assert told is not None
        assert (told[0], told[1]) == ([], [1, 2])


# ── what nobody has signed ───────────────────────────────────────────────────────────────────────


def garbage(harness: ClusterHarness, texts: Sequence[str], attempt: int = 3) -> tuple[list[Outcome], PolledBroker]:
    """What a pusher reports of these texts, and the queue as it leaves it."""
    incarnation = harness.incarnation(ProcessRole.PUSHER)
    broker = PolledBroker(SETTINGS.broker)
    broker.enqueue([Message(text, attempts=attempt - 1) for text in texts])
    pusher = Pusher(
        incarnation, harness.board, harness.control(incarnation), broker, CODEC, (SETTINGS.broker, SETTINGS.processes)
    )
    outcomes: list[Outcome] = []
    pusher._loss_reporter.report = outcomes.extend  # type: ignore[method-assign,assignment]
    for _ in range(5):
        pusher._fetcher.fetch_now()
        pusher._fetcher.fetch(len(texts))
    pusher.close()
    return outcomes, broker


def test_of_a_flood_of_garbage_a_day_keeps_so_much_and_the_rest_stays_in_the_queue(
    harness: ClusterHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reject_quota, "MAX_MESSAGES_PER_DAY", 3)

    outcomes, broker = garbage(harness, [f"garbage {number}" for number in range(10)])

    assert len({outcome.id for outcome in outcomes}) == len(outcomes) == 3
    assert broker.size().delayed == 7
    assert "7 undecodable messages postponed by an hour" in caplog.text


def test_of_large_garbage_the_beginning_is_kept(harness: ClusterHarness) -> None:
    outcomes, _ = garbage(harness, ["x" * (reject_quota.MAX_PAYLOAD_CHARACTERS + 1), "y" * 5000])

    assert [len(outcome.payload or "") < 2000 for outcome in outcomes] == [True, False]
    assert "1048577 characters" in (outcomes[0].payload or "")
