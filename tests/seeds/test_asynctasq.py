"""The document on AsyncTasQ's configuration (002): what it says of tasks, in the words of this package."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from django_cluster.brokers import memory
from django_cluster.conf import load_settings
from django_cluster.models import Task
from django_cluster.signals import post_execute, post_execute_in_worker, pre_enqueue, pre_execute
from django_cluster.testing import enqueued, fail_at, run_pending
from tests.sample import task_objects
from tests.sample.task_objects import add

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)

TASK_DEFAULTS = {"queue": "high-priority", "max_attempts": 5, "retry_strategy": "exponential", "retry_delay": 120}
OURS = {"name": "high-priority", "max_attempts": 5, "retry_backoff": 2, "retry_delay": 120}


@pytest.fixture(autouse=True)
def project(settings: Any) -> None:
    settings.Q_CLUSTER = {**OURS, "broker": "memory", "retry_jitter": False, "brokers": {"other": {"broker": "memory"}}}
    memory.reset()


def test_task_defaults_are_settings() -> None:
    delivery = load_settings().delivery

    assert load_settings().queue == TASK_DEFAULTS["queue"]
    assert (delivery.max_attempts, delivery.retry_delay) == (5, 120)
    assert delivery.retry_backoff == 2  # "exponential"


def test_dispatch_sends_and_the_defaults_hold() -> None:
    job = add.dispatch(1, 2)
    assert [each.queue for each in enqueued()] == ["high-priority"]

    with fail_at(add, 1, 2, 3, 4):
        assert run_pending(until=DAY) == [job] * 5
    assert job.result(timeout=0) == 3


def test_a_fifth_failure_is_the_last() -> None:
    job = add.dispatch(1, 2)

    with fail_at(add, *range(1, 9), error=OSError), pytest.raises(OSError):  # noqa: PT011  it has no message
        run_pending(until=DAY)

    assert job.task is not None
    assert (job.task.attempt_count, job.task.final) == (5, True)


def test_what_is_configured_for_a_task_goes_before_the_defaults() -> None:
    add.using(max_attempts=2, retry_strategy="fixed", retry_delay=1, timeout=5, queue="slow").dispatch(1, 2)

    (sent,) = enqueued()
    options = sent.options
    assert (options.max_attempts, options.retry_backoff, options.retry_delay, options.timeout) == (2, "fixed", 1, 5)
    assert sent.queue == "slow"


def test_the_driver_of_one_task_is_the_option_broker() -> None:
    job = add.using(broker="other").dispatch(1, 2)

    assert run_pending() == [job]


def test_visibility_timeout_is_renewed_and_needs_no_configuration() -> None:
    """A lease (the setting ``retry``) is renewed while a task runs, so that no task is bound to be shorter."""
    assert load_settings().broker.lease < 3600


def test_the_events_are_signals() -> None:
    events: list[str] = []

    def note(name: str) -> Any:
        def receiver(**facts: Any) -> None:
            events.append(name)

        return receiver

    named = {"task_enqueued": pre_enqueue, "task_started": pre_execute, "executed": post_execute_in_worker}
    receivers = {name: note(name) for name in (*named, "recorded")}
    for name, signal in (*named.items(), ("recorded", post_execute)):
        signal.connect(receivers[name], weak=False)
    try:
        add.dispatch(1, 2)
        run_pending()
    finally:
        for name, signal in (*named.items(), ("recorded", post_execute)):
            signal.disconnect(receivers[name])

    assert events == ["task_enqueued", "task_started", "executed", "recorded"]


def test_completed_tasks_are_kept_unless_the_task_declines() -> None:
    """``keep_completed_tasks=False`` is ``save_limit=-1``, or ``save=False`` for one task."""
    kept, _ = add.dispatch(1, 2), add.using(save=False).dispatch(3, 4)
    run_pending()

    assert [each.id for each in Task.objects.all()] == [kept]


def test_bulk_and_correlation() -> None:
    handles = task_objects.add.bulk([(1, 2), (3, 4)])
    run_pending()

    assert [each.result(timeout=0) for each in handles] == [3, 7]
    assert all(each.task is not None and each.task.correlation_id for each in handles)


def test_the_size_of_the_process_pool_and_recycling_are_settings(settings: Any) -> None:
    settings.Q_CLUSTER = {"workers": 4, "recycle": 100}

    assert (load_settings().processes.workers, load_settings().processes.recycle) == (4, 100)
