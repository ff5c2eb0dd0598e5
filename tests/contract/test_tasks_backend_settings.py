"""``TASKS``: several aliases, what is kept, and what ``manage.py check`` says."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from django.core.management import call_command
from django.utils.module_loading import import_string

from tests.contract.conftest import MakeFramework
from tests.contract.tasks_framework import READY, Framework, stored
from tests.sample import contract_tasks as tasks
from tests.tasks_framework import (
    default_task_backend,
    task_backends,
    tasks_setting,
)

# ── what is kept ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("limit", [1, -1])
def test_a_limit_of_rows_takes_no_result_from_who_waits_for_it(make_framework: MakeFramework, limit: int) -> None:
    """``save_limit`` counts what Django-Q keeps; a caller who was given an id may come late."""
    project = make_framework(save_limit=limit)
    ended = [project.run(tasks.add.enqueue(number)) for number in range(3)]
    waiting = [tasks.add.enqueue(number) for number in range(3)]

    call_command("qprune", verbosity=0, days=36500)
    project.project.enqueue("tests.sample.tasks.nothing")

    assert [stored(each).return_value for each in ended] == [0, 1, 2]
    assert [stored(each).status for each in waiting] == [READY] * 3


# ── aliases ──────────────────────────────────────────────────────────────────────────────────────


def test_aliases_share_a_cluster_and_know_their_tasks_apart(here: Framework) -> None:
    here.set({**tasks_setting(), "reports": {**tasks_setting(("yearly",), MAX_ATTEMPTS=2)["default"]}})
    report = tasks.fail.using(backend="reports", queue_name="yearly")

    result, plain = here.run(report.enqueue(), "yearly"), here.run(tasks.fail.enqueue())

    assert (result.backend, result.attempts) == ("reports", 2)
    assert (plain.backend, plain.attempts) == ("default", 1)
    assert task_backends["reports"].get_result(result.id).backend == "reports"
    assert result.task.backend == "reports"
    assert report.get_result(result.id) == result


# ── checks ───────────────────────────────────────────────────────────────────────────────────────


def complaints() -> list[Any]:
    return list(default_task_backend.check())


def test_a_sound_project_has_nothing_to_be_said_against_it(here: Framework) -> None:
    here.options(("default",), MAX_ATTEMPTS=3, TIMEOUT=30)

    assert complaints() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"MAX_ATTEMPT": 3},
        {"MAX_ATTEMPTS": "many"},
        {"TIMEOUT": "soon"},
        {"BACKOFF": "nowhere.at.all"},
        {"ON_COMMIT": "no_database"},
        {"CLUSTER": " "},
        {"CLUSTER": "mail "},
        {"CLUSTER": "a\nb"},
    ],
    ids=repr,
)
def test_an_option_that_makes_no_sense_is_a_complaint_of_the_check(here: Framework, wrong: dict[str, Any]) -> None:
    here.options(**wrong)

    found = complaints()

    assert found
    assert all(each.is_serious() or each.level >= logging.WARNING for each in found)
    assert next(iter(wrong)) in " ".join(each.msg for each in found)


def test_without_the_app_the_check_says_so(here: Framework, settings: Any) -> None:
    settings.INSTALLED_APPS = [each for each in settings.INSTALLED_APPS if each != "django_cluster"]

    found = complaints()

    assert len(found) == 1
    assert found[0].is_serious()
    assert "INSTALLED_APPS" in f"{found[0].msg} {found[0].hint}"
    assert "django_cluster" in f"{found[0].msg} {found[0].hint}"


def test_the_backend_is_found_by_its_path(here: Framework) -> None:
    assert type(task_backends["default"]) is import_string("django_cluster.backend.ClusterBackend")
    assert asyncio.iscoroutinefunction(type(task_backends["default"]).aenqueue)
