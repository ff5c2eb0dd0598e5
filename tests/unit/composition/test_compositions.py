"""Chains, groups and iters as callers know them: run here and now, and over both kinds of queue.

``orm`` is a queue in the same database as the rows, ``memory`` one that is elsewhere.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.db import transaction

from django_cluster import AsyncTask, Chain, Group, Iter, async_chain, async_iter, async_task, call, fetch, result
from django_cluster.brokers import memory
from django_cluster.models import GroupMember, Task, TaskGroup
from django_cluster.tasks import count_group, delete_group, fetch_group, queue_size, result_group, retry
from django_cluster.testing import enqueued
from django_cluster.testing.drain import drain
from tests.fields import fields
from tests.sample import tasks
from tests.sample.tasks import echo

pytestmark = pytest.mark.django_db

WAYS = ["sync", "orm", "memory"]
calls: list[Any] = []
"""What the tasks of these tests were called with, in order."""


def note(value: Any) -> Any:
    calls.append(value)
    return value


def fail_with(value: Any) -> None:
    calls.append(value)
    raise ValueError(f"no luck with {value}")


def fail_while(value: Any) -> Any:
    calls.append(value)
    if value in unlucky_numbers:
        raise ValueError(f"no luck with {value}")
    return value


def fail_first(value: Any) -> Any:
    """Fail in the first run."""
    calls.append(value)
    if calls.count(value) == 1:
        raise ValueError(f"no luck with {value}")
    return value


unlucky_numbers: set[int] = set()


def hook(task: Task) -> None:
    calls.append(("hook", task.id, task.success, task.result))


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, settings: Any) -> Iterator[str]:
    broker = "memory" if request.param == "sync" else request.param
    settings.Q_CLUSTER = {
        **{"name": "tests", "broker": broker, "on_commit": False, "max_attempts": 1},
        "sync": request.param == "sync",
    }
    memory.reset()
    calls.clear()
    unlucky_numbers.clear()
    yield request.param
    memory.reset()


def work() -> None:
    """Let a cluster work until nothing is left to do."""
    drain(raise_errors=False)


def sending() -> suppress:
    """In sync mode a failure is raised after it was recorded."""
    return suppress(ValueError)


# ── chains ───────────────────────────────────────────────────────────────────────────────────────


def test_the_links_of_a_chain_run_one_after_the_other(way: str) -> None:
    group = async_chain([(note, (1,)), (note, (2,), {}), (tasks.echo, (), {"x": 3})])
    work()

    assert calls == [1, 2]
    assert result_group(group) == [((), {"x": 3}), 2, 1]
    assert [task.attempt_count for task in fetch_group(group)] == [1, 1, 1]


def test_only_the_first_link_of_a_chain_is_sent_at_first(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "broker": "orm"}

    async_chain([(note, (n,)) for n in range(5)])

    assert len(enqueued()) == 1


def test_a_chain_stops_at_a_link_that_failed(way: str) -> None:
    with sending():
        async_chain([(note, (1,)), (fail_with, (2,)), (note, (3,))], group="letters")
    work()

    assert calls == [1, 2]
    assert count_group("letters") == 2


def test_a_chain_may_go_on_after_a_link_that_failed(way: str) -> None:
    with sending():
        async_chain([(fail_with, (1,)), (note, (2,)), (fail_with, (3,)), (note, (4,))], stop_on_failure=False)
    work()

    assert calls == [1, 2, 3, 4]


def test_a_run_that_will_be_repeated_sends_no_next_link(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "broker": "orm", "max_attempts": 2, "retry_delay": 0}
    calls.clear()

    async_chain([(fail_first, (1,)), (note, (2,))])
    work()

    assert calls == [1, 1, 2]


@pytest.mark.parametrize("options", [{"save": False}, {"cached": 60}])
def test_a_chain_goes_on_after_a_success_without_a_row(way: str, options: dict[str, Any]) -> None:
    async_chain([(note, (n,), options) for n in range(3)])
    work()

    assert calls == [0, 1, 2]
    assert not Task.objects.exists()


def test_a_chain_goes_on_where_no_success_is_kept(way: str, settings: Any) -> None:
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "save_limit": -1}

    async_chain([(note, (n,)) for n in range(3)])
    work()

    assert calls == [0, 1, 2]


def test_what_the_caller_gave_to_a_chain_is_never_changed(way: str) -> None:
    links = [(note, (1,), {"q_options": {"timeout": 5}}), (note, ([2],)), note_nothing]
    before = copy.deepcopy(links)

    async_chain(links)
    work()

    assert links == before


def note_nothing() -> None:
    calls.append("nothing")


def test_a_link_has_options_of_its_own(way: str) -> None:
    group = async_chain([(note, (1,)), (note, (2,), {"task_name": "the second", "hook": hook})])
    work()

    second = fetch("the second")
    assert second is not None
    assert second.group == group
    assert calls == [1, 2, ("hook", second.id, True, 2)]


def test_the_rest_of_a_chain_follows_a_task_by_option(way: str) -> None:
    task_id = async_task(note, 1, group="letters", chain=[(note, (2,)), (note, (3,))])
    work()

    assert result(task_id) == 1
    assert result_group("letters") == [3, 2, 1]


def test_a_chain_has_at_least_one_link(way: str) -> None:
    with pytest.raises(ValueError, match="at least one"):
        async_chain([])


@pytest.mark.parametrize("link", [3, (note, 3), (note, (1,), 3), (note, (), {}, 4), ()])
def test_what_is_no_call_is_refused_at_the_door(way: str, link: Any) -> None:
    with pytest.raises(TypeError):
        async_chain([(note, (1,)), link])

    assert calls == []
    assert queue_size() == 0


def test_a_link_that_failed_and_is_sent_again_goes_on_with_the_chain(way: str) -> None:
    unlucky_numbers.add(2)
    with sending():
        async_chain([(note, (1,)), (fail_while, (2,)), (note, (3,))], group="letters")
    work()
    assert calls == [1, 2]

    unlucky_numbers.clear()
    retry(Task.objects.get(group="letters", success=False), as_new=True)
    work()

    assert calls == [1, 2, 2, 3]


def test_a_link_that_succeeded_and_is_sent_again_is_a_task_of_its_own(way: str) -> None:
    async_chain([(note, (1,)), (note, (2,))], group="letters")
    work()

    retry(Task.objects.get(group="letters", enqueued_at=min(t.enqueued_at for t in Task.objects.all())), as_new=True)
    work()

    assert calls == [1, 2, 1]


def test_a_chain_in_the_hand(way: str) -> None:
    chain = Chain()
    assert chain.append(note, 1) == 1
    assert chain.append(note, 2) == 2
    assert (chain.result(), chain.fetch(), chain.current(), chain.length()) == (None, None, None, 2)

    chain.run()
    work()

    assert chain.result() == [1, 2]
    assert [task.result for task in chain.fetch() or ()] == [1, 2]
    assert chain.current() == 2


def test_a_chain_that_stopped_is_not_waited_for(way: str) -> None:
    chain = Chain([(note, (1,)), (fail_with, (2,)), (note, (3,))])
    with sending():
        chain.run()
    work()

    assert chain.result() == [1]
    assert [task.success for task in chain.fetch() or ()] == [True, False]


def test_a_chain_that_is_made_longer_has_to_be_run_again(way: str) -> None:
    chain = Chain([(note, (1,))])
    chain.run()
    work()

    chain.append(note, 2)

    assert chain.result() is None
    assert count_group(chain.group) == 0
    chain.run()
    work()
    assert chain.result() == [1, 2]


# ── groups ───────────────────────────────────────────────────────────────────────────────────────


def test_what_follows_a_group_is_called_once_when_all_have_succeeded(way: str) -> None:
    group = Group([call(note, n) for n in range(3)]).on_success(note, "then").on_failure(note, "failure")

    assert group.run() == group.id
    work()

    assert calls == [0, 1, 2, "then"]
    assert group.result() == [0, 1, 2]
    assert result_group(group.id) == [2, 1, 0]


def test_what_follows_a_failure_is_called_once_when_all_have_ended(way: str) -> None:
    group = (
        Group([call(fail_with, 1), (note, (2,)), call(fail_with, 3)])
        .on_success(note, "then")
        .on_failure(note, "failure")
    )

    with sending():
        group.run()
    work()

    assert calls == [1, 2, 3, "failure"]
    assert group.result() == [2]
    assert [task.success for task in group.fetch()] == [False, True, False]


def test_a_group_whose_failures_are_repaired_succeeds(way: str) -> None:
    unlucky_numbers.update({1, 2})
    group = Group([(fail_while, (n,)) for n in range(3)]).on_success(note, "then").on_failure(note, "failure")
    with sending():
        group.run()
    work()
    assert calls == [0, 1, 2, "failure"]

    unlucky_numbers.clear()
    for task in Task.objects.filter(success=False).order_by("enqueued_at", "id"):
        retry(task, as_new=True)
    work()

    assert sorted(calls[4:6]) == [1, 2]
    assert calls[6:] == ["then"]


def test_an_empty_group_succeeds_at_once(way: str) -> None:
    Group().on_success(note, "then").on_failure(note, "failure").run()
    work()

    assert calls == ["then"]


def test_an_empty_group_is_not_waited_for(way: str) -> None:
    group = Group([])
    group.run()

    assert (group.result(wait=-1), group.fetch(wait=-1)) == ([], [])


def test_a_group_without_anything_to_follow_is_just_sent(way: str) -> None:
    group = Group([note_nothing, "tests.sample.tasks.process_id"])
    group.run()
    work()

    assert count_group(group.id) == 2


def test_a_group_is_sent_once(way: str) -> None:
    group = Group([call(note, 1)])
    group.run()

    with pytest.raises(ValueError, match="already"), transaction.atomic():
        group.run()
    work()

    assert calls == [1]


def test_to_say_what_follows_makes_another_group(way: str) -> None:
    group = Group([call(note, 1)])

    other = group.on_success(note, "then")

    assert other.id == group.id
    assert group.then(note, "then").id == group.id
    group.run()
    work()
    assert calls == [1]


def test_a_group_that_is_deleted_with_its_tasks_is_forgotten(way: str) -> None:
    group = Group([call(note, 1), call(note, 2)])
    group.run()
    work()

    assert delete_group(group.id, tasks=True) == 2

    assert not TaskGroup.objects.exists()
    assert not GroupMember.objects.exists()


@pytest.mark.parametrize("way", ["sync", "orm"], indirect=True)
def test_a_group_in_a_transaction_that_is_taken_back_was_never_there(way: str) -> None:
    def send_and_fail() -> None:
        with transaction.atomic():
            Group([call(note, 1)]).run()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        send_and_fail()

    assert not TaskGroup.objects.exists()
    assert queue_size() == 0


@pytest.mark.parametrize("option", ["sync", "broker", "on_commit", "chain"])
def test_an_option_of_the_whole_is_refused_for_a_part(way: str, option: str) -> None:
    with pytest.raises(TypeError, match=option):
        Group([call(note, q_options={option: True})]).run()


# ── iters ────────────────────────────────────────────────────────────────────────────────────────


def test_an_iter_keeps_the_order_of_its_items(way: str) -> None:
    iter_id = async_iter(note, [3, 1, 2])
    work()

    assert result(iter_id) == [3, 1, 2]
    assert [task.id for task in Task.objects.all()] == [iter_id]


def test_an_iter_takes_tuples_as_arguments_and_keywords_for_all(way: str) -> None:
    iter_id = async_iter(tasks.echo, [(1, 2), [3], "x"], key="value")
    work()

    assert result(iter_id) == [((1, 2), {"key": "value"}), (([3],), {"key": "value"}), (("x",), {"key": "value"})]


def test_an_iter_of_nothing_is_an_empty_list(way: str) -> None:
    iter_id = async_iter(note, [])
    work()

    assert result(iter_id, required=True) == []


def test_an_iter_needs_no_length(way: str) -> None:
    iter_id = async_iter(note, (n * n for n in range(4)))
    work()

    assert result(iter_id) == [0, 1, 4, 9]


def test_a_failing_item_makes_the_iter_a_failure_that_names_it(way: str) -> None:
    unlucky_numbers.add(1)
    with sending():
        async_iter(fail_while, range(3))
    work()

    task = Task.objects.get(success=False, func__contains="collect")
    assert task.error_kind == "django_cluster.errors.ItemsFailed"
    assert "1 of 3 items failed: item 1 (ValueError: no luck with 1)" in task.error_message
    assert task.final


def test_an_iter_whose_item_is_repaired_has_its_list(way: str) -> None:
    unlucky_numbers.add(1)
    with sending():
        async_iter(fail_while, [(n,) for n in range(3)])
    work()
    unlucky_numbers.clear()

    retry(Task.objects.get(success=False, func__contains="fail_while"), as_new=True)
    work()

    assert Task.objects.get(func__contains="collect").result == [0, 1, 2]


def test_the_options_of_the_list_and_of_its_items(way: str) -> None:
    q_options = {"hook": hook, "task_name": "squares", "group": "letters", "timeout": 5}
    given = copy.copy(q_options)

    iter_id = async_iter(tasks.echo, [1], sync="mine", q_options=q_options)
    work()

    task = fetch("squares")
    assert q_options == given
    assert task is not None
    assert fields(task, "id", "group", "result") == {
        "id": iter_id,
        "group": "letters",
        "result": [((1,), {"sync": "mine"})],
    }
    assert calls == [("hook", iter_id, True, task.result)]


def test_a_cached_iter_leaves_no_row(way: str) -> None:
    iter_id = async_iter(note, [1, 2], cached=60)
    work()

    assert result(iter_id) == result(iter_id, cached=True) == [1, 2]
    assert not Task.objects.exists()


def test_what_was_collected_is_kept_once(way: str) -> None:
    async_iter(note, [1, 2])
    work()

    assert not GroupMember.objects.exclude(sealed_result=None).exists()


def test_an_iter_in_the_hand(way: str) -> None:
    numbers = [1, 2]
    squares = Iter(note, numbers)
    assert squares.append(3) == 3
    assert (squares.result(), squares.fetch(), squares.length()) == (None, None, 3)

    squares.run()
    work()

    assert squares.result() == [1, 2, 3]
    assert squares.fetch() is not None
    assert numbers == [1, 2]
    squares.append(1, 2)
    assert squares.result() is None


def test_what_is_appended_to_an_iter_is_what_its_function_is_called_with(way: str) -> None:
    calls = Iter(echo)
    calls.append()
    calls.append((1, 2))
    calls.append(3, 4)

    calls.run()
    work()

    assert calls.result() == [((), {}), (((1, 2),), {}), ((3, 4), {})]


def test_an_iter_without_a_function_says_so(way: str) -> None:
    with pytest.raises(ValueError, match="function"):
        Iter(args=[1]).run()


# ── one task in the hand ─────────────────────────────────────────────────────────────────────────


def test_a_task_in_the_hand(way: str) -> None:
    task = AsyncTask(note, 1)
    task.group = "letters"
    assert (task.started, task.result(), task.fetch(), task.result_group()) == (False, None, None, None)

    task_id = task.run()
    work()

    assert (task.id, task.started, task.result()) == (task_id, True, 1)
    assert task.result_group() == [1]
    assert [each.id for each in task.fetch_group()] == [task_id]


@pytest.mark.parametrize("option", ["broker", "sync", "save", "hook", "group", "cached"])
def test_to_set_an_option_means_to_run_it_again(way: str, option: str) -> None:
    task = AsyncTask(note, 1)
    task.run()

    setattr(task, option, None)

    assert getattr(task, option) is None
    assert not task.started
    assert task.fetch() is None


def test_options_in_q_options_are_read_and_set_there(way: str) -> None:
    q_options = {"group": "letters"}
    task = AsyncTask(tasks.echo, group="mine", q_options=q_options)

    task.save = True

    assert (task.group, task.kwargs["q_options"]) == ("letters", {"group": "letters", "save": True})
    assert q_options == {"group": "letters"}
    task.run()
    work()
    assert task.result() == ((), {"group": "mine"})
