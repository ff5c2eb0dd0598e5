"""Signs of life: they reach whoever has asked for them, from the thread that has asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from django_cluster.core.liveness import install_reporter, report_progress


@pytest.fixture
def reports() -> Iterator[list[float]]:
    reports: list[float] = []
    install_reporter(reports.append)
    yield reports
    install_reporter(None)


def test_progress_is_reported_with_what_the_next_step_may_take(reports: list[float]) -> None:
    report_progress()
    report_progress(30.0)

    assert reports == [0.0, 30.0]


def test_another_thread_is_no_sign_of_life(reports: list[float]) -> None:
    thread = threading.Thread(target=report_progress)
    thread.start()
    thread.join()

    assert reports == []


def test_where_nobody_has_asked_nothing_happens() -> None:
    report_progress()
