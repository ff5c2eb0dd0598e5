"""What ``import django_cluster`` offers, and that it costs nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import django_cluster
from django_cluster import errors, tasks

DJANGO_Q_NAMES = [
    *("async_task", "schedule", "result", "fetch", "result_group", "fetch_group", "count_group", "delete_group"),
    *("delete_cached", "queue_size", "result_cached", "fetch_cached"),
    *("async_iter", "async_chain", "AsyncTask", "Chain", "Iter"),
    *("result_group_cached", "fetch_group_cached", "count_group_cached", "delete_group_cached"),
]


def run(code: str) -> None:
    """In a fresh interpreter, without any settings."""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [name for name in django_cluster.__all__ if name != "__version__"])
def test_a_public_name_is_the_thing_itself(name: str) -> None:
    found = getattr(django_cluster, name)

    assert found.__name__ == name
    assert getattr(found, "__doc__", None)


def test_type_checkers_are_told_every_public_name() -> None:
    told = Path(django_cluster.__file__).with_suffix(".pyi").read_text()

    named = set(re.findall(r"^from \S+ import \w+ as (\w+)$", told, re.MULTILINE))
    assert named | {"__version__"} == set(django_cluster.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        django_cluster.no_such_name  # type: ignore[attr-defined]  # noqa: B018  asking for it is the test


@pytest.mark.parametrize(
    ("module", "name", "new"),
    [
        ("tasks", "resubmit", "retry(task, as_new=True)"),
        ("tasks", "requeue", "retry(task)"),
        ("control", "withdraw", "cancel"),
        ("control", "recycle", "restart_worker"),
        ("control", "switch", "set_enabled"),
        ("decorators", "schedule", "periodic_task"),
        ("errors", "TaskWish", "TaskDirective"),
        ("brokers.base", "Waiting", "QueuedMessage"),
        ("models", "Instruction", "OperatorCommand"),
    ],
)
def test_the_import_of_a_renamed_name_says_the_new_one(module: str, name: str, new: str) -> None:
    with pytest.raises(ImportError, match=re.escape(f"django_cluster.{module}.{name} was renamed: use {new}")):
        exec(f"from django_cluster.{module} import {name}")


@pytest.mark.parametrize("module", ["tasks", "control", "decorators", "errors", "brokers.base", "models"])
def test_a_module_with_renamed_names_has_no_others(module: str) -> None:
    found = import_module(f"django_cluster.{module}")
    assert not hasattr(found, "no_such_name")


@pytest.mark.parametrize("name", DJANGO_Q_NAMES)
def test_the_names_of_django_q_are_where_its_users_look_for_them(name: str) -> None:
    assert callable(getattr(tasks, name))


def test_every_name_that_the_tasks_promise_exists() -> None:
    assert all(callable(getattr(tasks, name)) for name in tasks.__all__)


def test_errors_are_caught_by_the_names_that_are_raised() -> None:
    assert django_cluster.Retry is errors.Retry


def test_importing_the_package_needs_no_django() -> None:
    run("import sys, django_cluster; assert 'django' not in sys.modules")


def test_importing_the_tasks_reads_no_settings_and_makes_no_handler() -> None:
    run(
        "import logging, os; os.environ['DJANGO_SETTINGS_MODULE'] = 'no.such.settings'\n"
        "from django_cluster import errors, signals; import django_cluster.core.codec, django_cluster.core.packages\n"
        "assert not logging.getLogger('django_cluster').handlers"
    )


def test_the_version_is_that_of_the_metadata() -> None:
    from importlib.metadata import version

    assert version("django-cluster") == django_cluster.__version__
