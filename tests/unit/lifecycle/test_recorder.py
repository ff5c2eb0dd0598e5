"""The third verb: saved, then settled with the broker, then told; and repeating it does no harm."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from django.db import transaction

from django_cluster.brokers import memory
from django_cluster.brokers.base import Broker
from django_cluster.brokers.memory import MemoryBroker
from django_cluster.brokers.messages import Delivery, Message
from django_cluster.brokers.orm import OrmBroker
from django_cluster.core.messages import Outcome
from django_cluster.core.settings import DeliverySettings, ResultSettings
from django_cluster.errors import BrokerUnavailable, StoreUnavailable
from django_cluster.lifecycle import notification as module
from django_cluster.lifecycle.notification import notify, run_hook
from django_cluster.lifecycle.recorder import Recorder
from django_cluster.models import Task
from django_cluster.signals import post_execute
from django_cluster.stores.base import ResultStore
from django_cluster.stores.orm import OrmResults
from tests.conftest import make_settings
from tests.fields import fields
from tests.sample.tasks import spin

HERE = __name__
BROKER = make_settings().broker
ONCE = DeliverySettings(max_attempts=1)
TWICE = DeliverySettings(max_attempts=2, retry_delay=100.0, retry_jitter=False)
FAILURE = ("ValueError", "no luck", "Traceback …")

pytestmark = pytest.mark.django_db


# ── hooks of these tests ─────────────────────────────────────────────────────────────────────────

hooked: list[Task] = []


def note(task: Task) -> None:
    hooked.append(task)


def hook_raises(task: Task) -> NoReturn:
    raise ValueError("the hook has no luck")


def hook_exits(task: Task) -> NoReturn:
    sys.exit(3)


def hook_hangs(task: Task) -> None:
    spin(60)


# ── helpers ──────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    hooked.clear()
    memory.reset()
    yield
    memory.reset()


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker(BROKER)


@pytest.fixture
def results() -> OrmResults:
    return OrmResults(ResultSettings(save_limit=0))


def lend(broker: Broker, count: int = 1) -> list[str]:
    """Receipts of messages that are lent."""
    broker.enqueue([Message(f"message {number}") for number in range(count)])
    return [delivery.receipt for delivery in broker.lease(count)]


def outcome(receipt: str, number: int = 1, status: str = "success", attempt: int = 1, **options: Any) -> Outcome:
    return Outcome(
        number=number,
        receipt=receipt,
        attempt=attempt,
        id=f"{number:032x}",
        name=f"task {number}",
        func="a.b",
        options=options,
        enqueued_at=1.0,
        started_at=2.0,
        stopped_at=3.0,
        status=status,
        worker="worker 1",
        failure=None if status == "success" else FAILURE,
    )


def succeeded(task_id: str) -> bool:
    return Task.objects.get(pk=task_id).success


class Diary:
    """A store and a broker that are real, and write down what was asked of them and when."""

    def __init__(self) -> None:
        self.pages: list[str] = []
        diary = self.pages

        class Store(OrmResults):
            def save(self, outcomes: Sequence[Outcome]) -> None:
                super().save(outcomes)
                diary.append("saved")

            def batch(self) -> AbstractContextManager[None]:
                diary.append("together")
                return super().batch()

        class Queue(MemoryBroker):
            def acknowledge(self, receipts: Sequence[str]) -> None:
                super().acknowledge(receipts)
                diary.append("acknowledged")

            def release(
                self, deliveries: Sequence[Delivery], delay: float = 0.0, *, refund_attempt: bool = False
            ) -> None:
                super().release(deliveries, delay, refund_attempt=refund_attempt)
                diary.append("released")

        self.store = Store(ResultSettings(save_limit=0))
        self.broker = Queue(BROKER)


class Away(OrmResults):
    """A store whose server cannot be reached."""

    def save(self, outcomes: Sequence[Outcome]) -> NoReturn:
        raise StoreUnavailable("no server")

    def batch(self) -> AbstractContextManager[Any]:
        return nullcontext()


# ── order ────────────────────────────────────────────────────────────────────────────────────────


def test_rows_come_first_and_acknowledgements_second() -> None:
    diary = Diary()
    receipts = lend(diary.broker, 2)

    Recorder(diary.store, diary.broker, TWICE).record([outcome(receipts[0], 1), outcome(receipts[1], 2, "failure")])

    assert diary.pages == ["saved", "acknowledged", "released"]


def test_receivers_and_hooks_are_told_last() -> None:
    diary = Diary()
    (receipt,) = lend(diary.broker)

    saved = Recorder(diary.store, diary.broker, ONCE).record([outcome(receipt, hook=f"{HERE}.note")])
    notify(saved, lambda ended: diary.pages.append("told"))

    assert diary.pages == ["saved", "acknowledged", "told"]


def test_a_batch_is_one_save_and_one_acknowledgement() -> None:
    diary = Diary()
    receipts = lend(diary.broker, 50)

    Recorder(diary.store, diary.broker, ONCE).record([outcome(receipt, n) for n, receipt in enumerate(receipts)])

    assert diary.pages == ["saved", "acknowledged"]
    assert Task.objects.count() == 50
    assert diary.broker.size().total == 0


# ── what becomes of the message ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", ["success", "rejected"])
def test_what_is_done_and_what_can_never_be_done_is_acknowledged(
    status: str, broker: MemoryBroker, results: OrmResults
) -> None:
    (receipt,) = lend(broker)

    (saved,) = Recorder(results, broker, DeliverySettings()).record([outcome(receipt, status=status)])

    assert saved.final
    assert broker.size().total == 0


@pytest.mark.parametrize("status", ["failure", "timeout", "lost"])
def test_a_failed_run_is_given_back_to_be_tried_again_later(
    status: str, broker: MemoryBroker, results: OrmResults
) -> None:
    (receipt,) = lend(broker)

    (saved,) = Recorder(results, broker, TWICE).record([outcome(receipt, status=status)])

    (waiting,) = broker.peek()
    assert not saved.final
    assert not Task.objects.get().final
    assert waiting.attempts == 1
    assert waiting.due is not None
    assert 99 < waiting.due - time.time() <= 100


@pytest.mark.parametrize("status", ["failure", "timeout", "lost"])
def test_the_last_failed_run_is_acknowledged(status: str, broker: MemoryBroker, results: OrmResults) -> None:
    (receipt,) = lend(broker)

    (saved,) = Recorder(results, broker, TWICE).record([outcome(receipt, status=status, attempt=2)])

    assert saved.final
    assert Task.objects.get().final
    assert broker.size().total == 0


def test_each_of_a_batch_gets_its_own_decision(broker: MemoryBroker, results: OrmResults) -> None:
    receipts = lend(broker, 4)
    batch = [
        outcome(receipts[0], 0),
        outcome(receipts[1], 1, "failure"),
        outcome(receipts[2], 2, "failure", ack_failure=True),
        outcome(receipts[3], 3, "failure", retry_delay=0.0),
    ]

    saved = Recorder(results, broker, TWICE).record(batch)

    size = broker.size()
    assert [ended.final for ended in saved] == [True, False, True, False]
    assert fields(size, "ready", "delayed", "leased") == {"ready": 1, "delayed": 1, "leased": 0}


def test_without_a_broker_every_outcome_is_final(results: OrmResults) -> None:
    (saved,) = Recorder(results, None, TWICE).record([outcome("", status="failure")])

    assert saved.final
    assert Task.objects.get().final


def test_a_snoozed_task_comes_back_without_an_attempt_and_leaves_no_row(
    broker: MemoryBroker, results: OrmResults
) -> None:
    (receipt,) = lend(broker)
    snoozed = outcome(receipt, status="snoozed")._replace(retry_hint="snooze", delay=30.0)

    kept = Recorder(results, broker, ONCE).record([snoozed])

    (waiting,) = broker.peek()
    assert list(kept) == []
    assert not Task.objects.exists()
    assert waiting.attempts == 0
    assert waiting.due is not None
    assert 29 < waiting.due - time.time() <= 30


def test_a_task_under_which_worker_after_worker_died_is_put_aside_as_dead(
    broker: MemoryBroker, results: OrmResults
) -> None:
    recorder = Recorder(results, broker, DeliverySettings(max_worker_deaths=3, retry_delay=0.0))
    broker.enqueue([Message("poison")])
    statuses = []

    while lent := broker.lease(1):
        lost = outcome(lent[0].receipt, status="lost", attempt=lent[0].attempt)._replace(payload="poison")
        (saved,) = recorder.record([lost])
        statuses.append((saved.status, saved.final))

    row = Task.objects.get()
    assert statuses == [("lost", False), ("lost", False), ("dead", True)]
    assert fields(row, "status", "payload", "attempt_count") == {
        "status": "dead",
        "payload": "poison",
        "attempt_count": 3,
    }
    assert broker.size().total == 0


# ── again ────────────────────────────────────────────────────────────────────────────────────────


def test_recording_the_same_outcomes_again_changes_nothing(broker: MemoryBroker, results: OrmResults) -> None:
    receipts = lend(broker, 2)
    batch = [outcome(receipts[0], 1), outcome(receipts[1], 2, "failure")]
    recorder = Recorder(results, broker, TWICE)
    recorder.record(batch)
    before = list(Task.objects.order_by("id").values())

    recorder.record(batch)

    assert list(Task.objects.order_by("id").values()) == before
    assert (broker.size().delayed, broker.size().total) == (1, 1)


def test_a_death_after_the_success_was_saved_does_not_overwrite_it(broker: MemoryBroker, results: OrmResults) -> None:
    (receipt,) = lend(broker)
    recorder = Recorder(results, broker, TWICE)
    recorder.record([outcome(receipt)])

    recorder.record([outcome(receipt, status="lost")])

    assert succeeded(f"{1:032x}")


# ── servers that are away ────────────────────────────────────────────────────────────────────────


def test_a_store_that_is_away_leaves_the_message_leased(broker: MemoryBroker) -> None:
    (receipt,) = lend(broker)
    recorder = Recorder(Away(ResultSettings()), broker, ONCE)

    with pytest.raises(StoreUnavailable):
        recorder.record([outcome(receipt)])

    assert broker.size().leased == 1


class Refusing(OrmBroker):
    """Loses its connection when something is to be acknowledged."""

    def acknowledge(self, receipts: Sequence[str]) -> NoReturn:
        raise BrokerUnavailable("no server")


class RefusingElsewhere(MemoryBroker):
    def acknowledge(self, receipts: Sequence[str]) -> NoReturn:
        raise BrokerUnavailable("no server")


def test_where_rows_and_queue_share_a_database_both_happen_or_none(results: OrmResults) -> None:
    broker = Refusing(replace(BROKER, kind="orm"))
    (receipt,) = lend(broker)

    with pytest.raises(BrokerUnavailable), transaction.atomic():
        Recorder(results, broker, ONCE).record([outcome(receipt)])

    assert not Task.objects.exists()
    assert broker.size().leased == 1


def test_where_they_do_not_a_row_stays_and_the_recording_can_be_repeated(results: OrmResults) -> None:
    broker = RefusingElsewhere(BROKER)
    (receipt,) = lend(broker)
    with pytest.raises(BrokerUnavailable):
        Recorder(results, broker, ONCE).record([outcome(receipt)])

    Recorder(results, MemoryBroker(BROKER), ONCE).record([outcome(receipt)])

    assert succeeded(f"{1:032x}")
    assert broker.size().total == 0


# ── telling ──────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def listening(receiver: Callable[..., None]) -> Iterator[None]:
    post_execute.connect(receiver)
    try:
        yield
    finally:
        post_execute.disconnect(receiver)


def no_hook(ended: Outcome) -> None:
    pytest.fail("nobody asked for a hook")


def test_receivers_hear_of_every_outcome() -> None:
    heard: list[str] = []

    def listen(task: Outcome, **_: Any) -> None:
        heard.append(task.status)

    with listening(listen):
        notify([outcome("r"), outcome("s", 2, "failure")], no_hook)

    assert heard == ["success", "failure"]


def test_a_receiver_that_raises_is_logged_and_the_next_outcome_is_told(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []

    def listen(task: Outcome, **_: Any) -> None:
        heard.append(task.id)
        raise RuntimeError("not today")

    with listening(listen):
        notify([outcome("r", 1), outcome("s", 2)], no_hook)

    assert len(heard) == 2
    assert "not today" in caplog.text


def test_a_receiver_that_exits_does_not_end_the_monitor(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[str] = []

    def leave(task: Outcome, **_: Any) -> None:
        heard.append(task.id)
        sys.exit(3)

    with listening(leave):
        notify([outcome("r", 1), outcome("s", 2)], no_hook)

    assert len(heard) == 2
    assert "SystemExit" in caplog.text


def test_a_receiver_that_hangs_is_given_up_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HOOK_TIMEOUT", 0.05)

    def hang(**_: Any) -> None:
        spin(60)

    began = time.monotonic()
    with listening(hang):
        notify([outcome("r")], no_hook)

    assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("status", "final", "called"), [("success", True, 1), ("failure", True, 1), ("failure", False, 0)]
)
def test_a_hook_is_called_when_the_task_has_ended_for_good(status: str, final: bool, called: int) -> None:
    calls: list[Outcome] = []

    notify([outcome("r", status=status, hook="a.hook")._replace(final=final)], calls.append)

    assert len(calls) == called


def test_a_failure_is_logged_with_its_reason_and_whether_it_will_be_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    notify([outcome("r", status="failure")._replace(final=False), outcome("s", 2, "rejected")], no_hook)

    first, second = caplog.messages
    assert "task 1 [a.b] failed in attempt 1: ValueError: no luck; retrying" in first
    assert "task 2 [a.b] rejected in attempt 1: ValueError: no luck" in second


def test_a_failure_without_words_is_logged_by_its_name_alone(caplog: pytest.LogCaptureFixture) -> None:
    notify([outcome("r", status="failure")._replace(failure=("KeyboardInterrupt", "", ""))], no_hook)

    assert caplog.messages[0].endswith("failed in attempt 1: KeyboardInterrupt")


def test_a_success_is_not_worth_a_line(caplog: pytest.LogCaptureFixture) -> None:
    notify([outcome("r")], no_hook)

    assert caplog.messages == []


# ── hooks ────────────────────────────────────────────────────────────────────────────────────────


def recorded(results: ResultStore, hook: str) -> Outcome:
    (saved,) = Recorder(results, None, ONCE).record([outcome("", hook=hook)])
    return saved


def test_a_hook_gets_the_saved_row(results: OrmResults) -> None:
    run_hook(recorded(results, f"{HERE}.note"), results.get)

    (task,) = hooked
    assert isinstance(task, Task)
    assert task.pk == f"{1:032x}"
    assert task.success


def test_a_hook_of_a_task_that_is_not_kept_gets_one_without_a_row(results: OrmResults) -> None:
    run_hook(outcome("", hook=f"{HERE}.note", save=False), results.get)

    (task,) = hooked
    assert fields(task, "id", "success", "name") == {"id": f"{1:032x}", "success": True, "name": "task 1"}
    assert not Task.objects.exists()


@pytest.mark.parametrize(
    ("hook", "reason"),
    [("hook_raises", "the hook has no luck"), ("hook_exits", "SystemExit"), ("gone", "cannot be found")],
)
def test_a_hook_that_fails_is_logged_and_harms_nobody(
    hook: str, reason: str, results: OrmResults, caplog: pytest.LogCaptureFixture
) -> None:
    run_hook(recorded(results, f"{HERE}.{hook}"), results.get)

    assert reason in caplog.text
    assert succeeded(f"{1:032x}")


def test_a_hook_that_hangs_is_given_up_after_a_while(
    results: OrmResults, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "HOOK_TIMEOUT", 0.05)
    began = time.monotonic()

    run_hook(recorded(results, f"{HERE}.hook_hangs"), results.get)

    assert time.monotonic() - began < 10
    assert "hook_hangs" in caplog.text


def test_a_module_of_a_hook_that_raises_on_import_harms_nobody(
    results: OrmResults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "half_built_hooks.py").write_text("raise RuntimeError('half built')")
    monkeypatch.syspath_prepend(tmp_path)

    run_hook(recorded(results, "half_built_hooks.note"), results.get)

    assert "half built" in caplog.text
