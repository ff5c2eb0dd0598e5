"""``qhealth`` says whether tasks are run, in words and as an exit code."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_cluster import control
from django_cluster.brokers import memory
from django_cluster.service import TaskService

pytestmark = pytest.mark.django_db

HERE = os.uname().nodename


class SeenCluster:
    """What ``qhealth --here`` looks at of a cluster."""

    def __init__(self, host: str, state: str) -> None:
        self.host, self.state = host, state


@pytest.fixture(autouse=True)
def _in_memory(settings: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "broker": "memory"}
    memory.reset()


@pytest.fixture
def health(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def say(status: str, *reasons: str) -> None:
        monkeypatch.setattr(TaskService, "health", lambda self, latency: {"status": status, "reasons": [*reasons]})

    return say


def qhealth(*arguments: str) -> tuple[str, int]:
    """(what it printed, its exit code)."""
    out = StringIO()
    try:
        call_command("qhealth", *arguments, stdout=out)
    except SystemExit as error:
        return out.getvalue(), int(str(error.code))
    return out.getvalue(), 0


def test_a_project_without_a_cluster_is_unhealthy() -> None:
    assert qhealth() == ("unhealthy\nNo worker is running.\n", 3)


@pytest.mark.parametrize(
    ("status", "arguments", "code"),
    [
        ("healthy", [], 0),
        ("healthy", ["--strict"], 0),
        ("degraded", [], 0),
        ("degraded", ["--strict"], 3),
        ("unhealthy", [], 3),
    ],
)
def test_the_exit_code_says_it_too(health: Callable[..., None], status: str, arguments: list[str], code: int) -> None:
    health(status)

    assert qhealth(*arguments) == (f"{status}\n", code)


def test_it_prints_json(health: Callable[..., None]) -> None:
    health("degraded", "2 schedules are late.")
    printed, _ = qhealth("--json", "--max-latency", "5")

    assert json.loads(printed) == {"status": "degraded", "reasons": ["2 schedules are late."]}


@pytest.mark.parametrize(
    ("clusters", "said", "code"),
    [
        ([], f"No cluster runs on {HERE}.", 3),
        ([SeenCluster("elsewhere", "running")], f"No cluster runs on {HERE}.", 3),
        ([SeenCluster(HERE, "starting")], f"The cluster on {HERE} is starting.", 3),
        ([SeenCluster(HERE, "stopping"), SeenCluster(HERE, "running")], "", 0),
    ],
)
def test_a_probe_asks_for_the_cluster_of_its_host(
    monkeypatch: pytest.MonkeyPatch, clusters: list[SeenCluster], said: str, code: int
) -> None:
    monkeypatch.setattr(control, "clusters", lambda: clusters)
    printed, found = qhealth("--here")

    assert (printed.splitlines()[1:], found) == ([said] if said else [], code)


def test_settings_that_cannot_be_used_are_an_error_of_one_sentence(settings: Any) -> None:
    settings.Q_CLUSTER = {"workers": "many"}

    with pytest.raises(CommandError, match="workers"):
        qhealth()
