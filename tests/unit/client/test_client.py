"""One Django process ↔ one cluster: a client for each thread, and the same way inline as through a cluster."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import pytest

from django_cluster.brokers import memory
from django_cluster.client.client import Client, get_client
from django_cluster.core.messages import TaskPackage
from django_cluster.core.option_values import build_options
from django_cluster.core.packages import build_packages
from django_cluster.errors import NotSerializable, TaskFailed, TaskTimeout
from django_cluster.models import Task
from tests.fields import fields
from tests.sample import tasks

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _in_memory(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "broker": "memory", "on_commit": False}
    memory.reset()


def packages(func: Any, *args: Any, **options: Any) -> list[TaskPackage]:
    return build_packages(func, [args], {}, build_options(options))


# ── one client, kept ─────────────────────────────────────────────────────────────────────────────


def test_a_thread_keeps_its_client_and_its_connection() -> None:
    client = get_client()

    assert get_client() is client
    assert get_client().broker is client.broker
    assert get_client().results is client.results


def test_another_thread_has_another_client() -> None:
    found: list[Client] = []
    thread = threading.Thread(target=lambda: found.append(get_client()))
    thread.start()
    thread.join()

    assert found[0] is not get_client()


def test_another_cluster_has_another_client_and_another_queue() -> None:
    other = get_client("other")

    assert other is not get_client()
    assert other.broker.queue == "other"
    assert get_client("other") is other


def test_other_settings_make_another_client(settings: Any) -> None:
    before = get_client()

    settings.Q_CLUSTER = {"name": "elsewhere", "broker": "memory"}

    assert get_client() is not before
    assert get_client().settings.name == "elsewhere"


def test_a_child_process_does_not_use_its_parents_client(monkeypatch: pytest.MonkeyPatch) -> None:
    before = get_client()

    monkeypatch.setattr(os, "getpid", lambda: -1)

    assert get_client() is not before


def test_a_client_opens_nothing_before_it_is_used(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "redis": {"host": "no.such.host.invalid"}}

    client = get_client()

    assert client.broker.queue == "tests"


# ── sending ──────────────────────────────────────────────────────────────────────────────────────


def test_what_is_submitted_is_on_the_queue_and_writes_no_row() -> None:
    client = get_client()
    sent = packages(tasks.add, 1, 2)

    client.submit(sent)

    (delivery,) = client.broker.lease(10)
    assert client.codec.loads(delivery.payload) == sent[0]
    assert not Task.objects.exists()


def test_a_broker_may_be_given_along() -> None:
    other = get_client("other").broker

    get_client().submit(packages(tasks.nothing), broker=other)

    assert (other.size().ready, get_client().broker.size().ready) == (1, 0)


def test_arguments_that_cannot_be_carried_are_refused_at_once() -> None:
    with pytest.raises(NotSerializable):
        get_client().submit(packages(tasks.echo, lambda: None))

    assert get_client().broker.size().total == 0


# ── inline ───────────────────────────────────────────────────────────────────────────────────────


def test_sync_runs_here_and_now_and_records() -> None:
    (package,) = packages(tasks.process_id)

    get_client().submit([package], sync=True)

    row = Task.objects.get(pk=package.id)
    assert row.success
    assert row.result == os.getpid()
    assert row.worker == f"sync ({os.getpid()})"
    assert get_client().broker.size().total == 0


def test_sync_may_be_the_settings_choice_and_a_call_may_differ(settings: Any) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "sync": True}

    get_client().submit(packages(tasks.nothing))
    get_client().submit(packages(tasks.nothing), sync=False)

    assert Task.objects.count() == 1
    assert get_client().broker.size().ready == 1


def test_sync_packs_the_arguments_as_if_they_travelled() -> None:
    original = [1, 2]
    (package,) = packages(tasks.echo, original)

    get_client().submit([package], sync=True)
    original.append(3)

    assert Task.objects.get(pk=package.id).args == ([1, 2],)
    with pytest.raises(NotSerializable):
        get_client().submit(packages(tasks.echo, lambda: None), sync=True)


def test_a_failure_is_raised_as_in_the_task_after_it_was_recorded() -> None:
    (package,) = packages(tasks.fail, "no luck")

    with pytest.raises(ValueError, match="no luck"):
        get_client().submit([package], sync=True)

    row = Task.objects.get(pk=package.id)
    assert fields(row, "success", "final", "status") == {"success": False, "final": True, "status": "failure"}
    assert "no luck" in row.result


def test_a_timeout_is_raised_as_an_ordinary_error_after_it_was_recorded() -> None:
    handler = signal.getsignal(signal.SIGALRM)
    (package,) = packages(tasks.spin, 10, timeout=0.05)
    began = time.monotonic()

    with pytest.raises(TaskFailed, match=r"0\.05 seconds") as caught:
        get_client().submit([package], sync=True)

    assert isinstance(caught.value.__cause__, TaskTimeout)
    assert time.monotonic() - began < 5
    assert Task.objects.get(pk=package.id).status == "timeout"
    assert signal.getsignal(signal.SIGALRM) is handler


def test_the_first_failure_ends_a_batch() -> None:
    batch = build_packages(tasks.add, [(1, 2), (1, "x"), (3, 4)], {}, build_options({}))

    with pytest.raises(TypeError):
        get_client().submit(batch, sync=True)

    assert set(Task.objects.values_list("success", flat=True)) == {True, False}
    assert Task.objects.count() == 2
