"""Rows are inserted as the ORM writes them, by any number, and together with messages in one statement."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_cluster.database.row_insert import insert_rows
from django_cluster.models import TrackedTask

pytestmark = pytest.mark.django_db


def row_of(letter: str, **more: Any) -> TrackedTask:
    values = {"name": 'a "quoted", {braced} \\ name', "func": "a.b", "status": "queued", **more}
    return TrackedTask(id=letter * 32, enqueued_at=timezone.now(), **values)


def insert(*rows: TrackedTask, known: bool = False) -> None:
    with connection.cursor() as cursor:
        insert_rows(cursor, rows, known=known)


@pytest.mark.parametrize("count", [1, 3])
def test_every_kind_of_value_is_written_as_the_orm_writes_it(count: int) -> None:
    values: dict[str, Any] = {
        "priority": -7,
        "arguments": [[1, "é\0", None], {"a": "NULL"}],
        "run_after": timezone.now(),
        "group": None,
        "payload": "",
    }
    rows = [row_of(letter, **values) for letter in "abc"[:count]]

    insert(*rows)

    for row in rows:
        kept = TrackedTask.objects.get(pk=row.pk)
        names = [field.attname for field in TrackedTask._meta.concrete_fields]
        assert {name: getattr(kept, name) for name in names} == {name: getattr(row, name) for name in names}


def test_rows_whose_key_is_known_are_left_out() -> None:
    insert(row_of("a"))

    insert(row_of("a", status="running"), row_of("b"), known=True)

    assert [row.status for row in TrackedTask.objects.order_by("pk")] == ["queued", "queued"]


def test_all_rows_are_one_statement() -> None:
    with CaptureQueriesContext(connection) as queries:
        insert(row_of("a"), row_of("b"))

    assert len(queries) == 1
