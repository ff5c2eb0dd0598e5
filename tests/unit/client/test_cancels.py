"""Who is told when a task is cancelled, by where it is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from django_cluster import Chain, Group, async_task, call, control
from django_cluster.brokers import memory
from django_cluster.brokers.memory import MemoryBroker
from django_cluster.client.client import get_client
from django_cluster.control import CancelResult
from django_cluster.core.cancel_requests import CancelRequest
from django_cluster.core.task_ids import new_task_id
from django_cluster.errors import ClusterError
from django_cluster.models import OperatorCommand, Task, TrackedTask
from django_cluster.stores import cancel_requests
from django_cluster.stores.cancel_requests import CancelRequestStore
from django_cluster.testing.drain import drain
from tests.sample.tasks import add

pytestmark = pytest.mark.django_db
REQUESTED, CANCELLED, TOO_LATE = CancelResult.REQUESTED, CancelResult.CANCELLED, CancelResult.TOO_LATE
statuses: list[str] = []


def note_status(task: Task) -> None:
    statuses.append(task.status)


@pytest.fixture(autouse=True)
def queue(settings: Any) -> Iterator[None]:
    memory.reset()
    settings.Q_CLUSTER = {"name": "tests", "broker": "memory", "on_commit": False, "max_attempts": 1}
    statuses.clear()
    yield
    memory.reset()


def requests() -> list[str]:
    return sorted(each.target for each in CancelRequestStore().recent())


def test_what_waits_is_taken_out_without_a_request_to_clusters() -> None:
    task_id = async_task(add, 1, 1, hook=note_status)

    assert control.cancel(task_id, by="ada") is CANCELLED

    assert (statuses, requests(), drain()) == (["cancelled"], [], [])
    assert control.cancel(task_id) is TOO_LATE
    assert not control.cancel(task_id)


def test_what_is_leased_is_requested_of_the_clusters() -> None:
    task_id = async_task(add, 1, 1)
    get_client().broker.lease(1)

    assert control.cancel(task_id) is REQUESTED
    assert control.cancel(task_id) is REQUESTED

    assert requests() == [task_id]


@pytest.mark.parametrize("name", ["peek", "cancel"])
def test_a_broker_that_cannot_cancel_is_no_obstacle(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    from dataclasses import replace

    shown = replace(MemoryBroker.capabilities, peek=name != "peek", cancel=False)
    monkeypatch.setattr(MemoryBroker, "capabilities", shown)
    task_id = async_task(add, 1, 1)

    assert control.cancel(task_id) is REQUESTED
    assert requests() == [task_id]


def test_a_success_is_not_cancelled() -> None:
    task_id = async_task(add, 1, 1)
    drain()

    assert control.cancel(task_id) is TOO_LATE
    assert requests() == []


def test_a_group_of_which_all_wait_is_cancelled_and_followed_by_its_failure() -> None:
    group = Group([call(add, 1, 1), call(add, 2, 2)]).on_success(add, 0, 0).on_failure("tests.sample.tasks.nothing")
    group.run()
    other = async_task(add, 3, 3)

    assert control.cancel(group.id) is CANCELLED

    assert [row.status for row in group.fetch()] == ["cancelled", "cancelled"]
    assert other in drain()
    assert Task.objects.filter(func="tests.sample.tasks.nothing", success=True).count() == 1
    assert control.cancel(group) is TOO_LATE


def test_of_a_group_that_has_begun_the_rest_is_requested() -> None:
    group = Group([call(add, 1, 1), call(add, 2, 2)])
    group.run()
    get_client().broker.lease(1)

    assert control.cancel(group) is REQUESTED
    assert requests() == [group.id]
    assert len(group.fetch()) == 1


def test_a_chain_is_requested_by_its_id_and_its_label() -> None:
    chain = Chain([call(add, 1, 1), call(add, 2, 2)])
    with pytest.raises(ValueError, match="not sent"):
        control.cancel(chain)
    chain.run()

    control.cancel(chain)

    assert drain() == []
    assert requests() == sorted({chain.ids[0], chain.group})


def test_a_tracked_task_whose_message_was_not_sent_never_is() -> None:
    row = unsent()

    assert control.cancel(row.id) is CANCELLED

    row.refresh_from_db()
    assert (row.status, row.payload, statuses) == ("cancelled", None, ["cancelled"])
    assert get_client().results.tracked.unsent(-1, "tests") == []


def unsent() -> TrackedTask:
    """A tracked task as a process leaves it that dies between the commit and the sending."""
    from django_cluster.core.messages import TaskOptions
    from django_cluster.core.packages import build_packages
    from django_cluster.stores.tracked import SendingDetails, new_row

    options = TaskOptions(track=True, hook=f"{__name__}.note_status")
    (package,) = build_packages("tests.sample.tasks.add", [(1, 1)], {}, options, None)
    row = new_row(package.header, SendingDetails(), "tests")
    row.payload = get_client().codec.dumps(package)
    row.save()
    return row


def test_a_task_that_is_retried_is_not_cancelled_any_more() -> None:
    task_id = async_task("tests.sample.tasks.fail", "no luck")
    CancelRequestStore().add([task_id, "another"])
    drain(raise_errors=False)
    row = Task.objects.get(pk=task_id)

    control.retry(row)

    assert requests() == ["another"]


def test_requests_end_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    store = CancelRequestStore()
    monkeypatch.setattr(cancel_requests, "MAX_REQUESTS", 2)
    store.add(["a", "b"])
    store.add(["a"])
    with pytest.raises(ClusterError, match="no room"):
        store.add(["c"])
    late = OperatorCommand.objects.filter(target="a")
    late.update(until=late.get().given_at - timedelta(seconds=1) // timedelta(microseconds=1))

    assert [each.target for each in store.find(["a", "b"])] == ["b"]
    store.add(["c"])
    assert requests() == ["b", "c"]


@pytest.mark.parametrize("name", ["", "x" * 101])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="1 to 100 characters"):
        control.cancel(name)


def test_a_label_of_the_project_covers_what_was_sent_before() -> None:
    from django_cluster.core.cancel_requests import TaskKeys

    keys = TaskKeys("a", "", "nightly", 10.0)
    assert CancelRequest("nightly", 10.0).covers(keys)
    assert not CancelRequest("nightly", 9.0).covers(keys)
    generated = new_task_id()
    assert CancelRequest(generated, 9.0).covers(keys._replace(group=generated))
