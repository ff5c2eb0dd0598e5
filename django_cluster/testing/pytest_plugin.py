"""Plugin for pytest, which finds it by an entry point: the fixture ``tasks`` and the marker ``task_mode``.

Loaded by every run of pytest where the package is installed. So it imports nothing of it before the fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from django_cluster.testing.kit import TaskKit

OPTION = "django_cluster_task_mode"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting of pytest that names the mode of all tests."""
    parser.addini(OPTION, "What happens to tasks that tests send: kept, queued, inline or cluster.", default="kept")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", "task_mode(mode): what happens to tasks that the test sends: kept, queued, inline or cluster."
    )


@pytest.fixture
def tasks(request: pytest.FixtureRequest) -> Iterator[TaskKit]:
    """The test kit of django_cluster: tasks that the test sends are kept, and can be looked at and run.

    ``@pytest.mark.task_mode("inline")``, or the setting ``django_cluster_task_mode`` of pytest, choose another mode.
    """
    from django_cluster.testing.kit import task_kit

    marker = request.node.get_closest_marker("task_mode")
    mode = marker.args[0] if marker is not None else request.config.getini(OPTION)
    if mode == "cluster" and request.config.pluginmanager.hasplugin("django"):
        request.getfixturevalue("transactional_db")
    for name in ("transactional_db", "db"):
        if name in request.fixturenames:  # the database is there before the queue is emptied, and after it
            request.getfixturevalue(name)
    with task_kit(mode) as kit:
        yield kit
