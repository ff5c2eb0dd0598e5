"""A project on one table, and a module that tells when somebody imports it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from django_cluster.lifecycle.admission import allowed_functions
from django_cluster.models import Task
from django_cluster.schedules import declarations
from django_cluster.testing.drain import drain

SITE = {"name": "tests", "orm": "default", "on_commit": False, "max_attempts": 1}

Project = Callable[..., None]


@pytest.fixture(autouse=True)
def project(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Set ``Q_CLUSTER`` to this, and more.

    No function of the samples counts as registered here, whatever earlier tests have declared.
    """
    others = {path for path in declarations._tasks if not path.startswith("tests.sample.tasks.")}
    monkeypatch.setattr(declarations, "_tasks", others)
    allowed_functions.cache_clear()

    def configure(**more: Any) -> None:
        settings.Q_CLUSTER = {**SITE, **more}

    configure()
    return configure


class Trap:
    """A module that leaves a trace when it is imported, and more when it is called."""

    func = "trap_of_the_tests.work"

    def __init__(self, folder: Path) -> None:
        self.trace = folder / "imported"
        (folder / "trap_of_the_tests.py").write_text(
            f"open({str(self.trace)!r}, 'w').close()\n\ndef work(*args, **kwargs):\n    return 'worked'\n"
        )

    @property
    def sprung(self) -> bool:
        return self.trace.exists()


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Trap]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield Trap(tmp_path)
    sys.modules.pop("trap_of_the_tests", None)


def run_all(queue: str | None = None) -> list[Task]:
    """Run what waits, and return the rows of what has run."""
    ids = drain(queue, raise_errors=False)
    rows = Task.objects.in_bulk(ids)
    return [rows[each] for each in ids if each in rows]


def without_a_limit(**more: Any) -> override_settings:
    """As the site was before it named its functions."""
    return override_settings(Q_CLUSTER={**SITE, **more})
