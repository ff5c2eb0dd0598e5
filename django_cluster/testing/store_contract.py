"""``ResultStoreContract``: what every result store promises, as tests that each adapter inherits.

Needs pytest. A test module of an adapter gives the suite a ``store`` fixture, empty and new for each test::

    class TestMyResults(ResultStoreContract):
        @pytest.fixture
        def store(self):
            return MyResults(ResultSettings(save_limit=0))

The store must keep every outcome that it is given (no limit, nothing routed elsewhere).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from django_cluster.core.messages import TaskOptions
from django_cluster.models import Task
from django_cluster.stores.base import ResultStore
from django_cluster.testing.outcomes import ERROR, make_failure, make_outcome


def found(store: ResultStore, task_id: str) -> Task:
    """The task that must be there."""
    task = store.get(task_id)
    assert task is not None, f"task {task_id} is not in the store"
    return task


def earlier(store: ResultStore, task_id: str) -> list[dict[str, Any]]:
    """The attempts before the last one."""
    return list(found(store, task_id).attempts or ())


def ids(tasks: Sequence[Task]) -> list[str]:
    return [task.id for task in tasks]


class ResultStoreContract:
    """Inherit, and give it a ``store`` fixture."""

    # ── saving ───────────────────────────────────────────────────────────────────────────────────

    def test_an_unknown_task_has_not_ended(self, store: ResultStore) -> None:
        assert store.get(uuid4().hex) is None

    def test_a_saved_success_is_found_by_its_id(self, store: ResultStore) -> None:
        outcome = make_outcome()

        store.save([outcome])

        task = found(store, outcome.id)
        assert (task.id, task.name, task.func) == (outcome.id, outcome.name, outcome.func)
        assert (task.status, task.success, task.attempt_count, task.worker) == ("success", True, 1, "worker 1")

    def test_moments_come_back_as_they_were(self, store: ResultStore) -> None:
        outcome = make_outcome(enqueued_at=1_700_000_000.25, started_at=1_700_000_001.5, stopped_at=1_700_000_004.0)

        store.save([outcome])

        task = found(store, outcome.id)
        assert task.enqueued_at.timestamp() == pytest.approx(1_700_000_000.25, abs=1e-5)
        assert task.time_taken() == pytest.approx(3.75, abs=1e-5)
        assert task.run_time == pytest.approx(2.5, abs=1e-5)

    def test_sealed_bytes_come_back_untouched(self, store: ResultStore) -> None:
        outcome = make_outcome(arguments=bytes(range(256)), result=b"\x00\xff'\"\\\n" * 1000)

        store.save([outcome])

        task = found(store, outcome.id)
        assert bytes(task.sealed_arguments or b"") == outcome.arguments
        assert bytes(task.sealed_result or b"") == outcome.result

    def test_a_failure_says_why(self, store: ResultStore) -> None:
        outcome = make_failure(final=False)

        store.save([outcome])

        task = found(store, outcome.id)
        assert (task.error_kind, task.error_message, task.error_traceback) == ERROR
        assert task.result == "no good : Traceback: …"
        assert (task.success, task.final) == (False, False)

    def test_a_task_that_was_retried_under_its_id_goes_on_counting(self, store: ResultStore) -> None:
        """Its broker counts anew, and its earlier runs are kept."""
        failure = make_failure(attempt=3, final=True)
        store.save([failure])

        again = {"id": failure.id, "attempt": 1, "options": {"earlier_runs": 3}}
        store.save([make_failure(**again)])
        assert found(store, failure.id).attempt_count == 4
        store.save([make_outcome(**{**again, "attempt": 2})])

        assert (found(store, failure.id).attempt_count, found(store, failure.id).status) == (5, "success")
        assert [each["number"] for each in earlier(store, failure.id)] == [3, 4]

    @pytest.mark.parametrize("status", ["success", "failure"])
    def test_every_option_that_was_given_comes_back(self, store: ResultStore, status: str) -> None:
        options = {
            **{"hook": "app.hook", "group": "primes", "queue": "slow", "timeout": -1.0, "priority": 7},
            **{"ack_failure": True, "max_attempts": 3, "retry_on": ["OSError", "app.\N{SNOWMAN}"], "save": True},
        }
        outcome = make_outcome(options=options, status=status)

        store.save([outcome])

        given = found(store, outcome.id).given_options  # its cluster is the queue that ran it, where a store knows it
        assert replace(given, queue="slow") == TaskOptions.from_wire(options)

    @pytest.mark.parametrize("options", [{}, {"hook": "app.hook", "group": "primes", "queue": "slow"}])
    def test_a_task_without_further_options_keeps_none(self, store: ResultStore, options: dict[str, Any]) -> None:
        outcome = make_outcome(options=options)

        store.save([outcome])

        assert found(store, outcome.id).options is None

    def test_a_large_batch_is_saved_whole(self, store: ResultStore) -> None:
        outcomes = [make_outcome() for _ in range(600)]

        store.save(outcomes)

        assert store.finished([outcome.id for outcome in outcomes]) == {outcome.id for outcome in outcomes}

    def test_nothing_is_a_batch_too(self, store: ResultStore) -> None:
        store.save([])

        assert store.finished([]) == set()

    # ── saving again ─────────────────────────────────────────────────────────────────────────────

    def test_saving_twice_is_saving_once(self, store: ResultStore) -> None:
        outcomes = [make_outcome(), make_failure(), make_failure(attempt=3)]

        store.save(outcomes)
        store.save(outcomes)

        for outcome in outcomes:
            task = found(store, outcome.id)
            assert (task.status, task.attempt_count) == (outcome.status, outcome.attempt)
            assert not task.attempts

    def test_a_success_is_never_overwritten_by_a_failure(self, store: ResultStore) -> None:
        outcome = make_outcome()
        store.save([outcome])

        store.save([make_failure(id=outcome.id, attempt=2)])

        assert found(store, outcome.id).success

    def test_a_success_is_never_overwritten_by_another_success(self, store: ResultStore) -> None:
        outcome = make_outcome(attempt=2, worker="first")
        store.save([outcome])

        store.save([outcome._replace(attempt=3, worker="second")])

        assert found(store, outcome.id).worker == "first"

    def test_a_later_attempt_replaces_an_earlier_failure(self, store: ResultStore) -> None:
        first = make_failure()
        store.save([first])

        store.save([make_outcome(id=first.id, attempt=2)])

        task = found(store, first.id)
        assert (task.success, task.attempt_count, task.error_message) == (True, 2, "")

    def test_an_earlier_attempt_does_not_replace_a_later_one(self, store: ResultStore) -> None:
        second = make_failure(attempt=2, worker="second")
        store.save([second])

        store.save([second._replace(attempt=1, worker="first")])

        assert (found(store, second.id).attempt_count, found(store, second.id).worker) == (2, "second")

    def test_of_two_attempts_in_one_batch_the_later_wins(self, store: ResultStore) -> None:
        first = make_failure()
        second = make_outcome(id=first.id, attempt=2)

        store.save([second, make_outcome(), first])

        task = found(store, first.id)
        assert (task.success, task.attempt_count) == (True, 2)

    # ── earlier attempts ─────────────────────────────────────────────────────────────────────────

    def test_earlier_attempts_are_remembered(self, store: ResultStore) -> None:
        first = make_failure(worker="worker 7")
        store.save([first])
        store.save([first._replace(attempt=2, status="timeout", failure=("timeout", "too long", ""))])

        store.save([make_outcome(id=first.id, attempt=3)])

        attempts = earlier(store, first.id)
        assert [each["number"] for each in attempts] == [1, 2]
        assert [each["message"] for each in attempts] == ["no good", "too long"]
        assert attempts[0]["worker"] == "worker 7"
        assert attempts[0]["stopped"] == pytest.approx(first.stopped_at, abs=1e-5)

    def test_attempts_of_one_batch_are_remembered(self, store: ResultStore) -> None:
        first = make_failure()

        store.save([first, first._replace(attempt=2), first._replace(attempt=3)])

        assert [each["number"] for each in earlier(store, first.id)] == [1, 2]

    def test_only_the_last_attempts_are_remembered(self, store: ResultStore) -> None:
        outcome = make_failure()

        for attempt in range(1, 15):
            store.save([outcome._replace(attempt=attempt)])

        assert [each["number"] for each in earlier(store, outcome.id)] == list(range(4, 14))

    # ── which have succeeded ─────────────────────────────────────────────────────────────────────

    def test_only_successes_are_finished(self, store: ResultStore) -> None:
        success, failure = make_outcome(), make_failure()
        store.save([success, failure])

        assert store.finished([success.id, failure.id, uuid4().hex]) == {success.id}

    # ── odd values ───────────────────────────────────────────────────────────────────────────────

    def test_odd_text_does_not_stop_a_batch(self, store: ResultStore) -> None:
        odd = make_failure(
            name="n" * 300,
            func="f" * 300,
            options={"group": "g" * 300},
            failure=("k" * 300, "NUL \0 and half a pair \ud800, Ж 🙂", "line\n" * 100_000),
        )
        plain = make_outcome()

        store.save([odd, plain])

        task = found(store, odd.id)
        assert task.error_message.startswith("NUL ")
        assert "Ж 🙂" in task.error_message
        assert found(store, plain.id).success

    def test_an_impossible_moment_does_not_stop_a_batch(self, store: ResultStore) -> None:
        odd, plain = make_outcome(started_at=1e300), make_outcome()

        store.save([odd, plain])

        assert found(store, odd.id).success
        assert found(store, plain.id).success

    # ── groups ───────────────────────────────────────────────────────────────────────────────────

    def test_a_group_is_listed_newest_first(self, store: ResultStore) -> None:
        members = [make_outcome(options={"group": "primes"}, stopped_at=1_700_000_000.0 + n) for n in range(3)]
        failure = make_failure(options={"group": "primes"}, stopped_at=1_700_000_010.0)

        store.save([*members, failure, make_outcome(options={"group": "others"})])

        newest_first = [members[2].id, members[1].id, members[0].id]
        assert ids(store.group("primes")) == [failure.id, *newest_first]
        assert ids(store.group("primes", failures=False)) == newest_first

    def test_a_group_is_counted(self, store: ResultStore) -> None:
        group = {"group": "primes"}
        store.save([make_outcome(options=group), make_outcome(options=group), make_failure(options=group)])

        assert store.count("primes") == 3
        assert store.count("primes", failures=True) == 1
        assert store.count("nobody") == 0

    def test_a_group_saved_twice_counts_once(self, store: ResultStore) -> None:
        members = [make_outcome(options={"group": "primes"}) for _ in range(3)]

        store.save(members)
        store.save(members)

        assert store.count("primes") == 3

    def test_a_group_of_any_name_is_kept_apart(self, store: ResultStore) -> None:
        store.save([make_outcome(options={"group": "a b\n→ 🙂"}), make_outcome(options={"group": "a b"})])

        assert store.count("a b\n→ 🙂") == 1

    def test_a_deleted_group_is_empty(self, store: ResultStore) -> None:
        members = [make_outcome(options={"group": "primes"}) for _ in range(3)]
        store.save(members)

        assert store.delete_group("primes", tasks=True) == 3

        assert store.group("primes") == []
        assert store.get(members[0].id) is None
        assert store.delete_group("primes", tasks=True) == 0

    # ── forgetting ───────────────────────────────────────────────────────────────────────────────

    def test_a_deleted_task_is_gone(self, store: ResultStore) -> None:
        outcome = make_outcome()
        store.save([outcome])

        assert store.delete(outcome.id)

        assert store.get(outcome.id) is None
        assert not store.delete(outcome.id)

    def test_pruning_is_always_possible(self, store: ResultStore) -> None:
        outcome = make_outcome()
        store.save([outcome])

        store.prune()

        assert found(store, outcome.id).success

    def test_a_batch_that_ends_well_is_kept(self, store: ResultStore) -> None:
        outcome = make_outcome()

        with store.batch():
            store.save([outcome])

        assert found(store, outcome.id).success
