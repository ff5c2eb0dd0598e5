"""Writing rows while the database is away, is busy, or is not what we think it is."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from django.db import connections, transaction

from django_cluster.core.settings import ResultSettings
from django_cluster.errors import StoreUnavailable
from django_cluster.models import Task
from django_cluster.models.task import saved_tasks
from django_cluster.stores.orm import OrmResults
from django_cluster.stores.session import results_session
from django_cluster.testing.outcomes import make_failure, make_outcome

ALIAS = "rows of a test"


@pytest.fixture
def use_file(django_db_blocker: Any) -> Iterator[Callable[..., OrmResults]]:
    """Make a SQLite file known to Django; returns a store in it."""

    def use(file: Path, *, create: bool = True) -> OrmResults:
        # Django waits for a lock for a moment only: what is tested is that we ask again.
        entry = {"ENGINE": "django.db.backends.sqlite3", "NAME": file, "OPTIONS": {"timeout": 0.01}}
        connections.databases[ALIAS] = connections.configure_settings({"default": {}, ALIAS: entry})[ALIAS]
        if create:
            with connections[ALIAS].schema_editor() as editor:
                editor.create_model(Task)
        return OrmResults(ResultSettings(save_limit=2, database=ALIAS))

    with django_db_blocker.unblock():
        yield use
        connections[ALIAS].close()
        del connections[ALIAS]
        del connections.databases[ALIAS]


@pytest.fixture
def store(use_file: Callable[..., OrmResults], tmp_path: Path) -> OrmResults:
    return use_file(tmp_path / "rows.sqlite3")


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Another process, as it were, that is writing all the time until it commits."""
    other = sqlite3.connect(tmp_path / "rows.sqlite3", isolation_level=None, check_same_thread=False)
    yield other
    other.close()


def test_a_database_that_cannot_be_opened_is_unavailable(use_file: Callable[..., OrmResults], tmp_path: Path) -> None:
    store = use_file(tmp_path / "nowhere" / "rows.sqlite3", create=False)

    with pytest.raises(StoreUnavailable, match="unable to open"):
        store.save([make_outcome()])
    with pytest.raises(StoreUnavailable):
        store.get("0" * 32)
    with pytest.raises(StoreUnavailable):
        store.finished(["0" * 32])


def test_a_database_without_our_table_is_unavailable(use_file: Callable[..., OrmResults], tmp_path: Path) -> None:
    store = use_file(tmp_path / "rows.sqlite3", create=False)

    with pytest.raises(StoreUnavailable, match=r"cannot be used; run manage\.py migrate: no such table"):
        store.save([make_outcome()])


def test_a_locked_database_is_waited_for(store: OrmResults, lock: sqlite3.Connection) -> None:
    lock.execute("BEGIN IMMEDIATE")
    outcome = make_failure(attempt=2)
    saving = in_a_thread(lambda: store.save([outcome]))

    saving.join(0.2)
    assert saving.is_alive(), "it did not wait for the lock"
    lock.execute("COMMIT")
    saving.join(10)

    assert not saving.is_alive()
    assert saved_tasks(ALIAS).filter(pk=outcome.id).exists()


def test_a_batch_waits_for_a_locked_database_as_well(store: OrmResults, lock: sqlite3.Connection) -> None:
    lock.execute("BEGIN IMMEDIATE")
    outcome = make_outcome()

    def save() -> None:
        with store.batch():
            store.save([outcome])

    saving = in_a_thread(save)
    saving.join(0.2)
    lock.execute("COMMIT")
    saving.join(10)

    assert saved_tasks(ALIAS).filter(pk=outcome.id).exists()


def test_patience_has_an_end(store: OrmResults, lock: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    session = results_session(ALIAS)
    lock.execute("BEGIN IMMEDIATE")
    started = time.monotonic()

    with pytest.raises(StoreUnavailable, match="locked"):
        session.run(lambda: None, retry_seconds=0.1)

    assert time.monotonic() - started < 5


def test_pruning_gives_way_at_once(store: OrmResults, lock: sqlite3.Connection) -> None:
    store.save([make_outcome() for _ in range(5)])
    lock.execute("BEGIN IMMEDIATE")

    store.prune()
    assert saved_tasks(ALIAS).count() == 5
    lock.execute("COMMIT")
    store.prune()

    assert saved_tasks(ALIAS).count() == 2


def test_after_an_error_the_caller_may_go_on(store: OrmResults, use_file: Callable[..., OrmResults]) -> None:
    outcome = make_outcome()

    with transaction.atomic(using=ALIAS):
        store.save([make_outcome(started_at=1e300), outcome])

    assert store.finished([outcome.id]) == {outcome.id}


def in_a_thread(work: Callable[[], None]) -> Thread:
    def run() -> None:
        try:
            work()
        finally:
            connections[ALIAS].close()

    thread = Thread(target=run)
    thread.start()
    return thread
