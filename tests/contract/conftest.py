"""Projects with our backend of Django's Tasks framework."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.contract.tasks_framework import Framework, framework
from tests.e2e.conftest import (  # noqa: F401  fixtures
    MakeProject,
    make_project,
    migrated_file,
    migrated_on,
    new_database,
)
from tests.sample import contract_tasks

MakeFramework = Callable[..., Framework]


@pytest.fixture
def make_framework(make_project: MakeProject) -> Iterator[MakeFramework]:  # noqa: F811
    """Makes the project of a test: ``make_framework("redis", "sqlite", max_attempts=3)``.

    Without a limit of time, because a test may run one task inside of another. A failed task is due again at once.
    """
    contract_tasks.calls.clear()
    with ExitStack() as stack:

        def make(broker: str = "orm", database: str = "sqlite", **q_cluster: Any) -> Framework:
            project = make_project(broker, database, **{"retry_delay": 0, "timeout": None, **q_cluster})
            return stack.enter_context(framework(project))

        yield make


@pytest.fixture
def here(make_framework: MakeFramework) -> Framework:
    """The project of a test for which every broker and every database is as good: a table in SQLite."""
    return make_framework()
