"""The records about the ends of tasks."""

from __future__ import annotations

import logging

import pytest

from django_cluster.core.log_records import TaskFilter
from django_cluster.lifecycle.notification import log_failure, log_success
from django_cluster.testing.outcomes import make_failure, make_outcome


@pytest.mark.parametrize(("options", "expected"), [({"correlation_id": "order 7"}, "order 7"), ({}, "a" * 32)])
def test_the_end_of_a_task_is_logged_with_what_it_belongs_to(
    options: dict[str, str], expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "django_cluster.tasks"):
        log_failure(make_failure(id="a" * 32, options=options))
        log_success(make_outcome(id="a" * 32, options=options))

    assert [record.__dict__["event"] for record in caplog.records] == ["task_failed", "task_succeeded"]
    for record in caplog.records:
        TaskFilter().filter(record)  # as the handler of the monitor, where no task runs
        assert record.__dict__["correlation_id"] == expected
        assert record.__dict__["task_id"] == "a" * 32
