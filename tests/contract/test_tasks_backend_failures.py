"""What becomes of tasks of the framework that fail: their errors, their attempts, and the options that limit them."""

from __future__ import annotations

from typing import Any

import pytest

from django_cluster.control import cancel
from tests.contract.conftest import MakeFramework
from tests.contract.tasks_framework import (
    FAILED,
    READY,
    SUCCESSFUL,
    Framework,
    any_task,
    needs_options_of_tasks,
    stored,
)
from tests.sample import contract_tasks as tasks
from tests.tasks_framework import (
    InvalidTask,
    TaskResult,
)

# ── failing ──────────────────────────────────────────────────────────────────────────────────────


def test_a_task_that_raises_has_failed_with_its_error(here: Framework) -> None:
    result = here.run(tasks.fail.enqueue("no luck today"))

    assert (result.status, result.is_finished, result.attempts) == (FAILED, True, 1)
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value
    assert result.finished_at is not None
    assert [each.exception_class_path for each in result.errors] == ["builtins.ValueError"]
    assert result.errors[0].exception_class is ValueError
    assert result.errors[0].traceback.endswith("ValueError: no luck today\n")
    assert "contract_tasks.py" in result.errors[0].traceback


def test_an_exception_of_the_project_is_known_by_its_path(here: Framework) -> None:
    result = here.run(tasks.sell.enqueue())

    assert result.errors[0].exception_class is tasks.OutOfStock


@pytest.mark.parametrize("kind", ["SystemExit", "KeyboardInterrupt", "GeneratorExit"])
def test_what_ends_a_program_is_the_failure_of_the_task(here: Framework, kind: str) -> None:
    result = here.run(tasks.leave.enqueue(kind))

    assert (result.status, result.errors[0].exception_class_path) == (FAILED, f"builtins.{kind}")
    assert here.run(tasks.add.enqueue(1, 1)).return_value == 2


def test_a_task_that_discards_itself_has_ended(here: Framework) -> None:
    result = here.run(tasks.discard.enqueue())

    assert result.status == FAILED
    assert "not wanted any more" in result.errors[0].traceback


def test_a_task_that_is_cancelled_has_ended_and_never_runs(here: Framework) -> None:
    result = tasks.note.enqueue()

    cancel(result.id)

    result.refresh()
    assert result.status == FAILED
    here.work()
    assert tasks.calls == []


def test_a_task_is_ready_again_while_it_has_attempts(make_framework: MakeFramework) -> None:
    project = make_framework(retry_delay=60)
    project.options(MAX_ATTEMPTS=2)
    result = tasks.succeed_at.enqueue(2)

    project.work()

    result.refresh()
    assert (result.status, result.is_finished, result.finished_at) == (READY, False, None)
    assert (result.attempts, len(result.errors)) == (1, 1)
    assert result.errors[0].traceback.endswith("ValueError: attempt 1\n")
    first = result.started_at
    assert first is not None
    assert result.last_attempted_at == first

    project.work(retries=True)

    result.refresh()
    assert (result.status, result.return_value, result.attempts) == (SUCCESSFUL, 2, 2)
    assert (len(result.errors), len(result.worker_ids)) == (1, 2)
    assert result.started_at == first
    assert result.last_attempted_at is not None
    assert result.last_attempted_at > first


def test_every_attempt_leaves_its_error_and_the_last_ends_the_task(here: Framework) -> None:
    here.options(MAX_ATTEMPTS=3)

    result = here.run(tasks.succeed_at.enqueue(9))

    assert (result.status, result.attempts, len(result.worker_ids)) == (FAILED, 3, 3)
    assert [each.traceback.splitlines()[-1] for each in result.errors] == [
        f"ValueError: attempt {number}" for number in (1, 2, 3)
    ]


def test_without_an_option_the_attempts_are_those_of_the_cluster(make_framework: MakeFramework) -> None:
    project = make_framework(max_attempts=2)

    assert project.run(tasks.fail.enqueue()).attempts == 2


def test_a_failure_that_is_acknowledged_is_the_last(make_framework: MakeFramework) -> None:
    project = make_framework(ack_failures=True, max_attempts=5)

    assert project.run(tasks.fail.enqueue()).attempts == 1


@pytest.mark.parametrize("how", ["returns", "fails"])
def test_an_attempt_that_has_lost_its_lease_changes_nothing(make_framework: MakeFramework, how: str) -> None:
    """The first attempt ends after the second, which another worker began when the lease of the first had ended."""
    project = make_framework(retry=1, max_attempts=5)

    result = project.run(tasks.outlive_the_lease.enqueue(how))

    project.work()
    result.refresh()
    assert (result.status, result.return_value) == (SUCCESSFUL, "second")
    assert (result.attempts, len(result.worker_ids)) == (2, 2)


# ── options of the backend and of tasks ──────────────────────────────────────────────────────────


@needs_options_of_tasks
def test_options_of_a_task_go_before_those_of_the_backend(here: Framework, monkeypatch: pytest.MonkeyPatch) -> None:
    here.options(MAX_ATTEMPTS=5)
    eager = any_task(max_attempts=2, timeout=30, priority=3)(tasks.fail.func)
    monkeypatch.setattr(tasks, "fail", eager)

    result = here.run(eager.enqueue())

    assert (eager.max_attempts, eager.timeout, eager.priority) == (2, 30, 3)
    assert result.attempts == 2
    assert stored(result).task == eager


def patient(error: BaseException, task_result: TaskResult[..., Any]) -> float | None:
    """A backoff: notes what it is asked, and allows one more attempt, at once."""
    tasks.calls.append((type(error), str(error), task_result.attempts))
    return 0 if task_result.attempts < 2 else None


@needs_options_of_tasks
def test_a_backoff_says_when_the_next_attempt_is_due_or_that_there_is_none(
    make_framework: MakeFramework, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = make_framework(retry_delay=3600)
    project.options()
    declared = any_task(max_attempts=5, backoff=patient)(tasks.fail.func)
    monkeypatch.setattr(tasks, "fail", declared)

    result = project.run(declared.enqueue("bad"))

    assert (result.status, result.attempts) == (FAILED, 2)
    assert tasks.calls == [(ValueError, "bad", 1), (ValueError, "bad", 2)]


@needs_options_of_tasks
def test_an_option_that_does_not_exist_is_refused(here: Framework) -> None:
    with pytest.raises(TypeError, match="unheard_of"):
        any_task(unheard_of=1)(tasks.fail.func)


@needs_options_of_tasks
@pytest.mark.parametrize(
    "wrong", [{"max_attempts": -1}, {"max_attempts": "many"}, {"timeout": -5}, {"timeout": "soon"}, {"backoff": 3}]
)
def test_an_option_that_makes_no_sense_is_refused(here: Framework, wrong: dict[str, Any]) -> None:
    with pytest.raises((InvalidTask, TypeError, ValueError)):
        any_task(**wrong)(tasks.fail.func)


def test_a_changed_setting_counts_at_once(here: Framework) -> None:
    here.options(MAX_ATTEMPTS=3)
    assert here.run(tasks.fail.enqueue()).attempts == 3

    here.options(MAX_ATTEMPTS=2)
    assert here.run(tasks.fail.enqueue()).attempts == 2
