"""What history promises on every database: each run is counted once, however often and by whomever it is recorded."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.db import connections

from django_cluster.core.messages import Outcome
from django_cluster.dashboard.history.trends import WINDOWS, Window
from django_cluster.errors import StoreUnavailable
from django_cluster.models import Rollup, Task
from django_cluster.stores.history import History
from django_cluster.stores.history_compaction import HistoryCompactor
from django_cluster.stores.history_reader import HistoryReader
from django_cluster.stores.history_rows import RollupKey, counts_of
from django_cluster.stores.orm import OrmResults
from django_cluster.testing.outcomes import make_failure, make_outcome

OpenStore = Callable[..., OrmResults]


def rows(store: OrmResults) -> Any:
    return Rollup.objects.using(store.database).exclude(step=0)


def counted(store: OrmResults) -> dict[tuple[str, str], int]:
    """(function, status) → runs."""
    found: dict[tuple[str, str], int] = {}
    for row in rows(store):
        found[row.func, row.status] = found.get((row.func, row.status), 0) + row.runs
    return found


def batch(first: int, last: int, **changes: Any) -> list[Outcome]:
    return [make_outcome(number=number, func="shop.pay", **changes) for number in range(first, last + 1)]


class Interrupted(Exception):
    """The transaction ends here."""


def interrupt(store: OrmResults, outcomes: list[Outcome]) -> None:
    """Save in a transaction that is rolled back."""
    with suppress(Interrupted), store.batch():
        store.save(outcomes)
        raise Interrupted


class HistoryContract:
    """Inherit, and give it an ``open_store`` fixture."""

    def test_runs_are_counted_by_function_and_status(self, open_store: OpenStore) -> None:
        store, now = open_store(history_of="a"), time.time()
        run = {"enqueued_at": now - 9, "started_at": now - 5, "stopped_at": now - 3}

        store.save([*batch(1, 3, **run), make_failure(number=4, func="shop.pay", final=False, **run)])

        assert counted(store) == {("shop.pay", "success"): 3, ("shop.pay", "failure"): 1}
        failures = rows(store).get(status="failure")
        assert (failures.retried, failures.error_kind, failures.last_error) == (1, "ValueError", "no good")
        successes = counts_of(rows(store).get(status="success"))
        assert successes.wait_seconds == pytest.approx(12.0, rel=1e-3)
        assert successes.run_seconds == pytest.approx(6.0, rel=1e-3)
        assert sum(successes.wait_bins.values()) == sum(successes.run_bins.values()) == 3

    def test_without_an_id_or_with_the_setting_off_nothing_is_counted(self, open_store: OpenStore) -> None:
        for store in (open_store(), open_store(history_of="a", history=False)):
            store.save(batch(1, 2))
            store.prune()

            assert counted(store) == {}

    def test_history_costs_one_statement_a_batch(self, open_store: OpenStore) -> None:
        store = open_store(history_of="a")
        store.save(batch(1, 2))
        said: list[str] = []

        def listen(execute: Any, sql: str, *rest: Any) -> Any:
            said.append(sql)
            return execute(sql, *rest)

        with connections[store.database].execute_wrapper(listen):
            store.save(batch(3, 200))

        assert len([sql for sql in said if Rollup._meta.db_table in sql]) == 1
        assert counted(store) == {("shop.pay", "success"): 200}

    def test_a_batch_that_was_rolled_back_counts_once(self, open_store: OpenStore) -> None:
        store = open_store(history_of="a")
        outcomes = batch(1, 5)
        store.save(batch(6, 7))

        interrupt(store, outcomes)
        store.save(outcomes)

        assert counted(store) == {("shop.pay", "success"): 7}

    def test_two_writes_of_one_transaction_both_count(self, open_store: OpenStore) -> None:
        store = open_store(history_of="a")

        with store.batch():
            store.save(batch(1, 2))
            store.save(batch(3, 4))
        store.save(batch(5, 5))

        assert counted(store) == {("shop.pay", "success"): 5}

    def test_what_workers_send_again_to_the_next_monitor_counts_once(self, open_store: OpenStore) -> None:
        first = open_store(history_of="a")
        first.save(batch(1, 3))
        first.save(batch(4, 6))  # and dies before the workers hear of it

        second = open_store(history_of="a")
        second.save([*batch(2, 6), *batch(7, 7)])

        assert counted(second) == {("shop.pay", "success"): 7}

    def test_clusters_have_rows_of_their_own(self, open_store: OpenStore) -> None:
        for cluster in ("a", "b"):
            open_store(history_of=cluster).save(batch(1, 2))

        assert rows(open_store()).count() == 2
        assert counted(open_store()) == {("shop.pay", "success"): 4}

    def test_runs_that_leave_no_row_are_counted_with_the_next_row_or_with_the_pruning(
        self, open_store: OpenStore
    ) -> None:
        store = open_store(history_of="a", save_limit=-1)

        store.save(batch(1, 2))
        assert counted(store) == {}
        interrupt(store, [make_failure(number=3, func="shop.pay")])
        store.save([make_failure(number=3, func="shop.pay")])
        assert counted(store) == {("shop.pay", "success"): 2, ("shop.pay", "failure"): 1}
        store.save(batch(4, 4))
        store.prune()

        assert counted(store) == {("shop.pay", "success"): 3, ("shop.pay", "failure"): 1}
        assert Task.objects.using(store.database).count() == 1

    def test_the_number_of_functions_is_bounded(self, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("django_cluster.stores.history_writer.MAX_KEYS_PER_MINUTE", 3)
        store = open_store(history_of="a")

        store.save([make_outcome(number=n, func=f"tasks.f{n}", stopped_at=time.time() - 1) for n in range(1, 9)])

        found = counted(store)
        assert sum(found.values()) == 8
        assert len(found) <= 5  # a minute may have ended in between
        assert "" in {func for func, _ in found}

    @pytest.mark.parametrize("text", ["f\0g", "\ud83d", "🦀" * 300], ids=["NUL", "half", "long"])
    def test_any_text_and_any_moment_can_be_counted(self, text: str, open_store: OpenStore) -> None:
        store, odd = open_store(history_of="a"), float("inf")
        failure = (text, text, "")

        store.save([make_failure(number=n, func=text, failure=failure, enqueued_at=-odd) for n in (1, 2)])

        assert sum(counted(store).values()) == 2

    # ── merging ──────────────────────────────────────────────────────────────────────────────────

    def test_minutes_become_hours_and_hours_become_days(self, open_store: OpenStore) -> None:
        store, now = open_store(history_of="a"), time.time()
        for cluster in ("a", "b"):
            open_store(history_of=cluster).save([*batch(1, 4), make_failure(number=5, func="shop.pay")])
        steps = []

        for later in (1_000.0, 4 * 3600.0, 4 * 86_400.0, 30 * 86_400.0):
            compact(store, now + later)
            compact(store, now + later)
            steps.append(sorted({row.step for row in rows(store)}))
            assert counted(store) == {("shop.pay", "success"): 8, ("shop.pay", "failure"): 2}
            assert {row.cluster for row in rows(store)} == {""}

        assert steps == [[60], [3600], [21_600], [86_400]]
        assert sum(counts_of(rows(store).get(status="success")).run_bins.values()) == 8

    @pytest.mark.parametrize("window", WINDOWS, ids=[each.name for each in WINDOWS])
    def test_the_window_before_that_of_the_overview_is_counted_as_a_whole(
        self, window: Window, open_store: OpenStore
    ) -> None:
        store = open_store(history_of="a")
        now = (time.time() // 86_400 + 60) * 86_400 + 120  # just after midnight: as much as possible is merged
        before = window.start(now) - window.seconds
        step = window.bucket_seconds if window.bucket_seconds > 60 else 60
        for number in range(window.buckets):
            key = RollupKey("a", step, before + number * step, "", "shop.pay", "success", "")
            Rollup.objects.using(store.database).create(id=key.id, **key._asdict(), runs=1)

        compact(store, now)

        reader = HistoryReader(store.database)
        assert reader.sums(before, window.start(now)) == {"success": window.buckets}

    def test_outcomes_that_cannot_be_counted_yet_are_deferred_once(
        self, open_store: OpenStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("django_cluster.stores.history.MAX_DEFERRED", 2)
        store = open_store(history_of="a", save_limit=-1)
        store.save(batch(1, 2))
        with monkeypatch.context() as patched:
            patched.setattr(History, "flush", fail)
            for _ in range(3):  # as the recorder does during an outage
                with pytest.raises(StoreUnavailable):
                    store.save(batch(3, 4))

        store.save(batch(3, 4))
        store.prune()

        assert counted(store) == {("shop.pay", "success"): 4}

    def test_what_comes_late_is_added_to_what_was_merged(self, open_store: OpenStore) -> None:
        store, now = open_store(history_of="a"), time.time()
        store.save(batch(1, 2))
        compact(store, now + 4 * 3600.0)
        open_store(history_of="b").save(batch(1, 3))

        compact(store, now + 4 * 3600.0)

        assert counted(store) == {("shop.pay", "success"): 5}
        assert rows(store).count() == 1

    def test_what_is_too_old_is_deleted(self, open_store: OpenStore) -> None:
        store, now = open_store(history_of="a"), time.time()
        store.save(batch(1, 2))
        compact(store, now + 20 * 86_400.0)

        compact(store, now + 99 * 86_400.0, days=100)
        assert counted(store) == {("shop.pay", "success"): 2}
        compact(store, now + 102 * 86_400.0, days=100)

        assert counted(store) == {}

    def test_what_is_still_written_is_left_alone(self, open_store: OpenStore) -> None:
        store = open_store(history_of="a")
        store.save(batch(1, 2))

        compact(store, time.time() + 300.0)
        store.save(batch(3, 4))

        assert {row.cluster for row in rows(store)} == {"a"}
        assert counted(store) == {("shop.pay", "success"): 4}


def fail(*args: Any) -> None:
    raise StoreUnavailable("no answer")


def compact(store: OrmResults, now: float, days: float = 400.0) -> None:
    HistoryCompactor(store._session, days, wall=lambda: now).compact()
