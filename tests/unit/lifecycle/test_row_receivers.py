"""Receivers of ``post_save`` for rows of finished tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db.models.signals import post_save

from django_cluster.lifecycle.row_receivers import has_row_receivers
from django_cluster.models import Failure, Schedule, Success, Task
from django_cluster.tasks import async_task
from django_cluster.testing.drain import drain
from tests.sample.tasks import add, fail

pytestmark = pytest.mark.django_db


class Heard:
    """Notes for which rows it was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, bool]] = []

    def __call__(self, sender: Any, instance: Any, created: bool, **_: Any) -> None:
        self.calls.append((sender.__name__, instance.func.rpartition(".")[2], created))


@pytest.fixture
def heard() -> Iterator[Heard]:
    heard = Heard()
    yield heard
    for kind in (Task, Success, Failure, None):
        post_save.disconnect(heard, sender=kind)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (Task, [("Task", "add", True), ("Task", "fail", True)]),
        (Success, [("Success", "add", True)]),
        (Failure, [("Failure", "fail", True)]),
    ],
)
def test_a_receiver_hears_of_each_row_of_its_class(heard: Heard, kind: Any, expected: Any) -> None:
    post_save.connect(heard, sender=kind)
    async_task(add, 1, 2)
    async_task(fail)
    drain(raise_errors=False)

    assert sorted(heard.calls) == expected


def test_nothing_is_done_for_receivers_of_other_models(heard: Heard) -> None:
    post_save.connect(heard)
    post_save.connect(heard, sender=Schedule)
    async_task(add, 1, 2)
    drain()

    assert not has_row_receivers()
    assert heard.calls == []
    post_save.disconnect(heard, sender=Schedule)


def test_a_task_that_leaves_no_row_is_not_heard_of_and_a_receiver_that_fails_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(**_: Any) -> None:
        raise SystemExit("no luck")

    post_save.connect(broken, sender=Task)
    try:
        async_task(add, 1, 2, q_options={"save": False})
        drain()
        assert "interrupted" not in caplog.text
        async_task(add, 1, 2)
        drain()
    finally:
        post_save.disconnect(broken, sender=Task)
    assert "SystemExit: no luck" in caplog.text
    assert Task.objects.count() == 1
