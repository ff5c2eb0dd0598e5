"""Runs of tracked tasks that cannot begin as the worker finds the project."""

from __future__ import annotations

import sys
import time

import pytest

from django_cluster.core.codec import Codec
from django_cluster.core.messages import Job, OutcomeStatus, TaskHeader, TaskOptions, TaskPackage
from django_cluster.core.signing import ValueSigner
from django_cluster.core.task_ids import new_task_id
from django_cluster.lifecycle.error_reporting import ErrorReporters
from django_cluster.lifecycle.executor import Executor
from django_cluster.lifecycle.tracking import RunTracker
from django_cluster.stores.tracked import TrackedTasks
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
