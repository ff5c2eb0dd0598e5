"""Which errors of a database say that the same work may succeed when it is tried again."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError

from django_cluster.database.connection import is_conflict


@pytest.mark.parametrize(
    "words", ["database is locked", "database table is locked", "database main is locked", "locking protocol"]
)
def test_sqlite_says_in_words_that_another_transaction_is_in_the_way(words: str) -> None:
    assert is_conflict(OperationalError(words))


@pytest.mark.parametrize("code", [1020, 1205, 1213])
def test_mariadb_says_it_by_a_number(code: int) -> None:
    assert is_conflict(OperationalError(code, "Deadlock found"))


@pytest.mark.parametrize("error", [None, ValueError("database is locked"), OperationalError("no such table: locked")])
def test_other_errors_are_no_conflict(error: Any) -> None:
    assert not is_conflict(error)
