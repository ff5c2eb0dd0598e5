"""What Django's Tasks framework demands of ``ClusterBackend`` on each broker and each database."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import DataError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_cluster.client.client import get_client
from django_cluster.database.row_insert import insert_rows
from django_cluster.models import TrackedTask
from tests.contract.conftest import MakeFramework
from tests.contract.tasks_framework import FAILED, READY, SUCCESSFUL, Framework
from tests.e2e.brokers import OTHERS, THREE
from tests.sample import contract_tasks as tasks
from tests.tasks_framework import (
    InvalidTask,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
    default_task_backend,
)

DATABASES = [("orm", "sqlite"), ("orm", "postgres"), ("orm", "mariadb")]
LATE = [pytest.param(broker, "sqlite", marks=pytest.mark.before_release) for broker in OTHERS]
OUTSIDE = [*((broker, "sqlite") for broker in THREE[1:]), *LATE]
"""Queues that know nothing of the transactions of a database."""

PLACES = ("broker", "database")
everywhere = pytest.mark.parametrize(PLACES, [*DATABASES, *((broker, "sqlite") for broker in (*THREE[1:], *OTHERS))])
everywhere_before_release = pytest.mark.parametrize(PLACES, [*DATABASES, *OUTSIDE])
on_each_database = pytest.mark.parametrize(PLACES, DATABASES)
outside = pytest.mark.parametrize(PLACES, OUTSIDE)


@contextmanager
def rolled_back() -> Iterator[None]:
    """A transaction, or a savepoint in one, that comes to nothing."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@contextmanager
def unlogged() -> Iterator[None]:
    """Without records of what no stream of UTF-8 takes: pytest-xdist cannot pass it on."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


@pytest.fixture
def there(make_framework: MakeFramework, broker: str, database: str) -> Framework:
    """The project of a test on this broker and this database."""
    return make_framework(broker, database)


def status_of(task_id: str) -> TaskResultStatus | None:
    try:
        return default_task_backend.get_result(task_id).status
    except TaskResultDoesNotExist:
        return None


# ── a life on each of them ───────────────────────────────────────────────────────────────────────


@everywhere
def test_a_task_is_ready_runs_and_is_over(there: Framework) -> None:
    """One test of many things, because each project on each server has its price."""
    there.options(("default", "mail"), MAX_ATTEMPTS=2)
    sent: dict[str, TaskResult[..., Any]] = {
        "good": tasks.note.enqueue(1, two=[2]),
        "seen": tasks.look.enqueue(),
        "bad": tasks.fail.enqueue(),
        "again": tasks.succeed_at.enqueue(2),
        "elsewhere": tasks.add.using(queue_name="mail").enqueue(1, 2),
        "large": tasks.echo.enqueue("x" * 120_000),
    }
    for result in sent.values():
        assert default_task_backend.get_result(result.id) == result
        assert result.status == READY

    ended: dict[str, Any] = {name: there.run(result, "mail") for name, result in sent.items()}

    assert ended["good"].return_value == [[1], {"two": [2]}]
    assert ended["seen"].return_value == [ended["seen"].id, 1, "RUNNING", "RUNNING", 1]
    assert (ended["bad"].status, ended["bad"].attempts, len(ended["bad"].errors)) == (FAILED, 2, 2)
    assert [each.exception_class for each in ended["bad"].errors] == [ValueError, ValueError]
    assert (ended["again"].return_value, ended["again"].attempts, len(ended["again"].errors)) == (2, 2, 1)
    assert ended["elsewhere"].return_value == 3
    assert ended["large"].return_value == "x" * 120_000
    assert there.queued() == 0
    with pytest.raises(TaskResultDoesNotExist):
        default_task_backend.get_result("a b")


@everywhere_before_release
def test_a_task_does_not_start_before_its_moment(there: Framework) -> None:
    soon = timezone.now() + datetime.timedelta(seconds=1, microseconds=123_000)
    far = tasks.add.using(run_after=timezone.now() + datetime.timedelta(days=30)).enqueue(1, 2)
    result = tasks.add.using(run_after=soon).enqueue(1, 2)

    assert there.work() == []
    assert default_task_backend.get_result(result.id).status == READY

    there.run(result)
    assert result.return_value == 3
    assert result.started_at is not None
    assert result.started_at >= soon
    assert status_of(far.id) == READY


@everywhere_before_release
def test_what_is_more_urgent_goes_first_or_is_refused(there: Framework) -> None:
    if not default_task_backend.supports_priority:
        with pytest.raises(InvalidTask, match="priority"):
            tasks.note.using(priority=1)
        return
    order = [0, 50, -100, 100, 0]

    sent = [tasks.note.using(priority=value).enqueue(value, place) for place, value in enumerate(order)]
    for result in sent:
        there.run(result)

    called = [args for args, _ in tasks.calls]
    assert [value for value, _ in called] == [100, 50, 0, 0, -100]
    if get_client().broker.capabilities.fifo:
        assert called[2:4] == [(0, 0), (0, 4)]


# ── the caller's transaction ─────────────────────────────────────────────────────────────────────


@on_each_database
def test_task_and_data_are_committed_together(there: Framework) -> None:
    with transaction.atomic():
        Group.objects.create(name="data")
        result = tasks.add.enqueue(1, 2)
        assert there.queued() == 1
        assert status_of(result.id) == READY

    assert status_of(result.id) == READY
    assert there.run(result).return_value == 3


@on_each_database
def test_task_and_data_are_rolled_back_together(there: Framework) -> None:
    with rolled_back():
        Group.objects.create(name="data")
        result = tasks.note.enqueue()

    with transaction.atomic():
        kept = tasks.note.enqueue("kept")
        with rolled_back():
            inner = tasks.note.enqueue("inner")

    assert status_of(result.id) is status_of(inner.id) is None
    assert there.queued() == 1
    there.run(kept)
    assert tasks.calls == [(("kept",), {})]
    assert Group.objects.count() == 0


@on_each_database
def test_a_task_is_sent_when_its_transaction_is_committed_and_not_by_itself(there: Framework) -> None:
    """Nothing waits for ``on_commit``: what the transaction does, the task shares."""
    with transaction.atomic():
        before = len(transaction.get_connection().run_on_commit)
        tasks.add.enqueue(1, 2)
        assert len(transaction.get_connection().run_on_commit) == before


@outside
def test_a_message_is_sent_after_the_commit(there: Framework) -> None:
    with transaction.atomic():
        result = tasks.add.enqueue(1, 2)
        assert status_of(result.id) == READY
        assert there.queued() == 0

    assert there.run(result).return_value == 3


@outside
def test_after_a_rollback_there_is_neither_a_message_nor_a_row(there: Framework) -> None:
    with rolled_back():
        result = tasks.note.enqueue()

    assert status_of(result.id) is None
    assert there.work() == []
    assert tasks.calls == []


@pytest.mark.parametrize(PLACES, OUTSIDE[:1])
def test_a_message_may_be_sent_at_once_and_its_row_never_come(there: Framework) -> None:
    there.options(ON_COMMIT=False)
    with rolled_back():
        lost = tasks.note.enqueue()
        assert there.queued() == 1

    there.work()

    assert there.queued() == 0
    assert status_of(lost.id) in (None, SUCCESSFUL)
    assert there.run(tasks.add.enqueue(1, 2)).return_value == 3


# ── what the databases disagree about ────────────────────────────────────────────────────────────

HARD = ["a\0b", "a\ud800b", "\U0001f600", "'; --", "%s", "\\u0000", 2**70, -0.0, 1e308, {"": ""}, {"a\0": 1}, [[[]]]]


@on_each_database
def test_hard_values_arrive_or_are_refused_before_the_database_is_asked(there: Framework) -> None:
    sent = []
    with transaction.atomic():
        for value in HARD:
            try:
                sent.append((value, tasks.echo.enqueue(value)))
            except ValueError as error:
                assert str(error)  # noqa: PT017  each may be refused, with a reason
        assert Group.objects.count() == 0, "the transaction goes on"

    for value, result in sent:
        assert there.run(result).return_value == value
    assert len(sent) >= len(HARD) - 3, "at most those with a zero character or half a pair may be refused"


@on_each_database
def test_hard_return_values_and_messages_end_the_task(there: Framework) -> None:
    for kind in ("zero character", "lone surrogate"):
        result = there.run(tasks.give.enqueue(kind))
        assert result.status in (SUCCESSFUL, FAILED)
        if result.status == SUCCESSFUL:
            assert result.return_value == tasks.RETURNED[kind]()
        else:
            assert result.errors[0].traceback
    for message in ("a\0b", "a\ud800b", "😀", "x" * 200_000):
        with unlogged():
            bad = there.run(tasks.fail_with.enqueue(ascii(message)))
        assert (bad.status, bad.errors[0].exception_class) == (FAILED, ValueError)


@on_each_database
@pytest.mark.parametrize("name", ["", "x" * 500, "\0", "\ud800", "ä" * 64, "'"], ids=ascii)
def test_no_id_upsets_a_database(there: Framework, name: Any) -> None:
    with transaction.atomic():
        with pytest.raises(TaskResultDoesNotExist):
            default_task_backend.get_result(name)
        assert Group.objects.count() == 0, "the transaction goes on"


@pytest.mark.parametrize(PLACES, [("orm", "postgres")])
@pytest.mark.parametrize("count", [1, 3])
def test_rows_and_messages_are_one_statement_on_postgresql(there: Framework, count: int) -> None:
    backend: Any = default_task_backend
    backend.enqueue_many([(tasks.add, (1, 1), {})])

    with CaptureQueriesContext(connection) as queries:
        sent = backend.enqueue_many([(tasks.add, (number, 1), {}) for number in range(count)])

    assert len(queries) == 1
    assert there.queued() == count + 1
    assert [there.run(result).return_value for result in sent] == [number + 1 for number in range(count)]


@on_each_database
@pytest.mark.usefixtures("there")
def test_a_repeated_insert_leaves_out_known_rows_and_shortens_nothing() -> None:
    def insert(letter: str, name: str) -> None:
        row = TrackedTask(id=letter * 32, name=name, func="a.b", status="queued", enqueued_at=timezone.now())
        with transaction.atomic(), connection.cursor() as cursor:
            insert_rows(cursor, [row], known=True)

    insert("a", "first")
    insert("a", "second")
    if connection.vendor != "sqlite":  # which has no longest text
        with pytest.raises(DataError):
            insert("b", "x" * 500)

    assert [row.name for row in TrackedTask.objects.filter(id__in=["a" * 32, "b" * 32])] == ["first"]
