"""The kit as a project's test cases use it."""

from __future__ import annotations

import inspect
import subprocess
import sys
from datetime import timedelta

import pytest
from django.db import transaction
from django.test import TestCase, TransactionTestCase

import django_cluster.testing
from django_cluster import testing
from django_cluster.lifecycle.fault_injection import FaultInjection
from django_cluster.tasks import async_task, result
from django_cluster.testing import TaskKit, TaskTestMixin, run_pending
from tests.sample import tasks


class KeptTests(TaskTestMixin, TestCase):
    def test_tasks_are_kept_and_run_in_the_transaction_of_the_test(self) -> None:
        with transaction.atomic():
            task_id = async_task(tasks.add, 1, 2)

        self.tasks.assert_enqueued(tasks.add, (1, 2), on_commit=True)
        assert self.tasks.run_pending() == [task_id]
        self.tasks.assert_not_enqueued()
        assert result(task_id) == 3

    def test_faults_last_until_the_end_of_the_test(self) -> None:
        self.tasks.fail_at(tasks.add)
        self.tasks.time_out_at(tasks.echo)
        self.tasks.kill_worker_at(tasks.nothing)
        for func, args in ((tasks.add, (1, 2)), (tasks.echo, ()), (tasks.nothing, ())):
            async_task(func, *args, q_options={"max_attempts": 2, "retry_delay": 1})

        assert len(self.tasks.run_pending(until=timedelta(minutes=1))) == 6

    def tearDown(self) -> None:
        assert self.tasks.enqueued() == []
        super().tearDown()

    @classmethod
    def tearDownClass(cls) -> None:
        assert FaultInjection.before_call is None
        super().tearDownClass()


class CommittedTests(TaskTestMixin, TransactionTestCase):
    task_mode = "queued"

    def test_what_was_committed_was_sent(self) -> None:
        with transaction.atomic():
            async_task(tasks.nothing)
            self.tasks.assert_enqueued(tasks.nothing, on_commit=True)

        self.tasks.assert_enqueued(tasks.nothing, on_commit=False)
        assert len(self.tasks.run_pending("tests")) == 1

    def test_what_was_rolled_back_was_not(self) -> None:
        with transaction.atomic():
            async_task(tasks.nothing)
            transaction.set_rollback(True)

        self.tasks.assert_not_enqueued(tasks.nothing)
        assert self.tasks.forget_enqueued() == 0


class InlineTests(TaskTestMixin, TestCase):
    task_mode = "inline"

    def test_a_task_runs_when_it_is_sent(self) -> None:
        assert result(async_task(tasks.add, 1, 2)) == 3
        with pytest.raises(ValueError, match="no luck"):
            async_task(tasks.fail)


@pytest.mark.parametrize("name", ["assert_enqueued", "assert_not_enqueued", "enqueued", "run_pending", "run_schedules"])
def test_a_method_takes_what_the_function_of_its_name_takes(name: str) -> None:
    own = inspect.signature(getattr(TaskKit, name)).parameters
    function = inspect.signature(getattr(testing, name)).parameters

    assert [str(each) for each in list(own.values())[1:]] == [str(each) for each in function.values()]


@pytest.mark.parametrize("name", testing.__all__)
def test_public_names_are_found_and_described(name: str) -> None:
    assert getattr(testing, name).__doc__
    assert getattr(testing, name).__name__ == name


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        django_cluster.testing.no_such_name  # noqa: B018  asking for it is the test


def test_the_plugin_imports_nothing_of_django_nor_of_the_package() -> None:
    code = (
        "import sys, pytest; before = set(sys.modules); import django_cluster.testing.pytest_plugin;"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.strip() == str(
        ["django_cluster", "django_cluster.testing", "django_cluster.testing.pytest_plugin"]
    )


@pytest.mark.django_db
def test_the_functions_work_without_the_kit() -> None:
    task_id = async_task(tasks.add, 1, 2)

    assert run_pending() == [task_id]
