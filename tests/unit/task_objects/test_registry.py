"""The registry: which modules are searched, and which declarations no worker could follow."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from django_cluster.checks import tasks as checks
from django_cluster.schedules import declarations

SOURCE = """
from django_cluster.task_objects import task
@task
def once(): ...
@task
def twice(): return 1
@task
def twice(): return 2
def plain(): ...
other = task(plain)
"""


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in ("_objects", "_places"):
        monkeypatch.setattr(declarations, registry, {})
    monkeypatch.setattr(declarations, "_tasks", set())


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    found = ModuleType("shop_of_mistakes")
    monkeypatch.setitem(sys.modules, found.__name__, found)
    exec(compile(SOURCE, "shop.py", "exec"), vars(found))
    return found


def test_tasks_that_no_worker_could_run_as_declared_are_named(module: ModuleType) -> None:
    problems = [str(message.msg) for message in checks.check_tasks()]

    assert [problem.partition(" ")[0] for problem in problems] == ["shop_of_mistakes.plain", "shop_of_mistakes.twice"]
    assert "something else under this name" in problems[0]
    assert "declared 2 times (shop.py:5, shop.py:7)" in problems[1]


def test_a_module_that_is_imported_again_declares_nothing_twice(module: ModuleType) -> None:
    before = [message.msg for message in checks.check_tasks()]

    exec(compile(SOURCE, "shop.py", "exec"), vars(module))

    assert [message.msg for message in checks.check_tasks()] == before


def test_manage_py_check_says_so(module: ModuleType) -> None:
    assert {message.id for message in run_checks(tags=["django_cluster"])} >= {"django_cluster.W022"}


BOTH = """
from django_cluster.decorators import cron_task
from django_cluster.task_objects import task
@cron_task("0 5 * * *")
@task(timeout=5)
def above(): ...
@task(timeout=5)
@cron_task("0 5 * * *")
def below(): ...
"""


def test_a_task_object_may_have_a_declared_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declarations, "_declarations", {})
    shop = ModuleType("shop_of_schedules")
    monkeypatch.setitem(sys.modules, shop.__name__, shop)

    exec(compile(BOTH, "shop.py", "exec"), vars(shop))

    assert checks.check_tasks() == []
    assert [each.func for each in declarations.declarations()] == ["shop_of_schedules.above", "shop_of_schedules.below"]
    assert [shop.above.options, shop.below.options] == [{"timeout": 5}, {"timeout": 5}]


@pytest.mark.parametrize("names", [["sample_tasks", "jobs.daily"], "sample_tasks, jobs.daily"])
def test_the_setting_names_the_modules_that_are_searched(names: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[str] = []

    def imported(name: str) -> bool:
        searched.append(name)
        return True

    monkeypatch.setattr(declarations, "_imported", imported)

    with override_settings(Q_CLUSTER={"name": "tests", "task_modules": names}):
        declarations.discover.__wrapped__()

    assert {name.removeprefix("tests.sample.") for name in searched if name.startswith("tests.sample.")} == {
        "sample_tasks",
        "jobs.daily",
    }
