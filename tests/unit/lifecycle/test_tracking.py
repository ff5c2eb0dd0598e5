"""Runs of tracked tasks: those that cannot begin here, and who writes how they end."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from django_cluster.core.codec import Codec
from django_cluster.core.messages import Job, Outcome, OutcomeStatus, TaskHeader, TaskOptions, TaskPackage
from django_cluster.core.signing import ValueSigner
from django_cluster.core.task_ids import new_task_id
from django_cluster.errors import StoreUnavailable
from django_cluster.lifecycle.error_reporting import ErrorReporters
from django_cluster.lifecycle.executor import Executor
from django_cluster.lifecycle.tracking import MAX_UNFENCED_SECONDS, RunTracker
from django_cluster.models import TrackedTask
from django_cluster.stores.tracked import TrackedTasks
from django_cluster.stores.tracked_ends import note_ends
from tests.conftest import make_settings

pytestmark = pytest.mark.django_db


def test_a_worker_without_the_framework_fails_its_tasks_and_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make_settings()
    codec = Codec(settings.signing)
    tracker = RunTracker(TrackedTasks("default"), settings.delivery, worker="one")
    executor = Executor(
        codec, ValueSigner(settings.signing.secret), ErrorReporters({}), timeout=None, worker="one", tracker=tracker
    )
    options = TaskOptions(backend="default")
    header = TaskHeader(id=new_task_id(), name="n", func="math.hypot", enqueued_at=time.time(), options=options)
    body = codec.verify(codec.dumps(TaskPackage(header=header, args=(3, 4))))
    monkeypatch.setitem(sys.modules, "django_cluster.framework.run", None)

    outcome = executor.run(Job(1, body, "receipt", 1))

    assert outcome.status == OutcomeStatus.FAILURE
    assert outcome.failure is not None
    assert outcome.failure[0] == "ModuleNotFoundError"


class Unwritable(TrackedTasks):
    """The database goes away while the task runs."""

    def end(self, *_: object, **__: object) -> bool:
        raise StoreUnavailable("gone")


def run_tracked(rows: TrackedTasks, func: str, *args: float, **how: Any) -> Outcome:
    settings = make_settings()
    codec = Codec(settings.signing)
    tracker = RunTracker(rows, settings.delivery, worker="one", **how)
    executor = Executor(
        codec, ValueSigner(settings.signing.secret), ErrorReporters({}), timeout=None, worker="one", tracker=tracker
    )
    header = TaskHeader(id=new_task_id(), name="n", func=func, enqueued_at=time.time(), options=TaskOptions(track=True))
    return executor.run(Job(1, codec.verify(codec.dumps(TaskPackage(header=header, args=args))), "receipt", 1))


def status() -> str:
    return TrackedTask.objects.get().status


@pytest.mark.parametrize(("func", "args", "expected"), [("math.hypot", (3, 4), "success"), ("math.sqrt", (-1,), None)])
def test_the_end_of_a_quick_run_is_left_to_the_monitor(func: str, args: tuple[float, ...], expected: str) -> None:
    outcome = run_tracked(TrackedTasks("default"), func, *args, leaves_ends=True)

    assert outcome.tracked_end is not None
    assert status() == "running"
    note_ends(TrackedTasks("default"), [outcome])
    assert status() == (expected or "failed")


@pytest.mark.parametrize(("leaves_ends", "seconds"), [(False, 0.0), (True, MAX_UNFENCED_SECONDS)])
def test_the_end_of_any_other_run_is_written_by_the_worker(leaves_ends: bool, seconds: float) -> None:
    moments = iter([1000.0 + number * seconds for number in range(10)])

    outcome = run_tracked(
        TrackedTasks("default"), "math.hypot", 3, 4, leaves_ends=leaves_ends, clock=lambda: next(moments)
    )

    assert (outcome.tracked_end, status()) == (None, "success")


def test_an_end_that_the_worker_cannot_write_reaches_the_row_by_the_monitor() -> None:
    outcome = run_tracked(Unwritable("default"), "math.hypot", 3, 4)

    note_ends(TrackedTasks("default"), [outcome])

    assert outcome.status == "success"
    assert status() == "success"
