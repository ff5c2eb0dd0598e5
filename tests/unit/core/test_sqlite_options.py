"""Which SQLite databases are written by several processes, and what their connections are given."""

from __future__ import annotations

from typing import Any

import pytest

from django_cluster.core.sqlite_options import chooses_journal, is_shared_file, waiting_options

ENGINE = "django.db.backends.sqlite3"


@pytest.mark.parametrize(
    ("database", "shared"),
    [
        ({"ENGINE": ENGINE, "NAME": "db.sqlite3"}, True),
        ({"ENGINE": "django_prometheus.db.backends.sqlite3", "NAME": "db.sqlite3"}, True),
        ({"ENGINE": "django.contrib.gis.db.backends.spatialite", "NAME": "db"}, True),
        ({"ENGINE": ENGINE, "NAME": "file:db.sqlite3?cache=private"}, True),
        ({"ENGINE": ENGINE}, False),
        ({"ENGINE": ENGINE, "NAME": ""}, False),
        ({"ENGINE": ENGINE, "NAME": "file:memorydb_default?mode=memory&cache=shared"}, False),
        ({"ENGINE": ENGINE, "NAME": "file:db.sqlite3?immutable=1"}, False),
        ({"ENGINE": "django.db.backends.postgresql", "NAME": "sqlite"}, False),
        ({}, False),
    ],
    ids=str,
)
def test_a_file_is_shared_unless_it_is_memory_or_only_read(database: dict[str, Any], shared: bool) -> None:
    assert is_shared_file(database) is shared


def test_what_the_project_says_stays() -> None:
    assert waiting_options({}, 60) == {"transaction_mode": "IMMEDIATE", "timeout": 60}
    assert waiting_options({"timeout": 3, "uri": True}, 60) == {
        "transaction_mode": "IMMEDIATE",
        "timeout": 3,
        "uri": True,
    }
    assert waiting_options({"transaction_mode": None}, 60)["transaction_mode"] is None


def test_a_project_may_choose_its_journal() -> None:
    assert chooses_journal({"OPTIONS": {"init_command": "PRAGMA synchronous=NORMAL; PRAGMA JOURNAL_MODE = DELETE"}})
    assert not chooses_journal({"OPTIONS": {"init_command": "PRAGMA synchronous=NORMAL"}})
    assert not chooses_journal({"OPTIONS": None})
    assert not chooses_journal({})
