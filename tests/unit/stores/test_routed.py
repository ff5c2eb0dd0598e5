"""The route between rows and cache."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches

from django_cluster.core.settings import ResultSettings
from django_cluster.errors import StoreUnavailable
from django_cluster.models import Task
from django_cluster.stores import open_results
from django_cluster.stores.routed import RoutedResults
from django_cluster.testing.outcomes import make_failure, make_outcome

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    caches["default"].clear()


@pytest.fixture
def store() -> RoutedResults:
    return open_results(ResultSettings(save_limit=0))


@pytest.fixture
def break_cache(settings: Any, tmp_path: Any) -> Callable[[], None]:
    """Let the cache be a server that is away."""

    def break_it() -> None:
        address = f"unix://{tmp_path}/nothing"
        settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": address}}

    return break_it


def test_a_success_goes_to_one_place(store: RoutedResults) -> None:
    row, cached = make_outcome(), make_outcome(options={"cached": True})

    store.save([row, cached])

    assert store.rows.finished([row.id, cached.id]) == {row.id}
    assert store.cached.finished([row.id, cached.id]) == {cached.id}
    assert store.finished([row.id, cached.id]) == {row.id, cached.id}


def test_a_cached_failure_has_a_row_as_well(store: RoutedResults) -> None:
    failure = make_failure(options={"cached": 60, "group": "primes"})

    store.save([failure])

    assert store.cached.get(failure.id) is not None
    assert store.rows.get(failure.id) is not None
    assert store.count("primes") == 1
    assert len(store.group("primes")) == 1


def test_a_cached_success_takes_the_row_of_its_failure_away(store: RoutedResults) -> None:
    failure = make_failure(options={"cached": True})
    store.save([failure])

    store.save([make_outcome(id=failure.id, attempt=2, options={"cached": True})])

    found = store.get(failure.id)
    assert found is not None
    assert found.success
    assert [each["number"] for each in found.attempts or ()] == [1]
    assert not Task.objects.exists()


def test_a_group_may_live_in_both_places(store: RoutedResults) -> None:
    row = make_outcome(options={"group": "primes"}, stopped_at=1_700_000_001.0)
    cached = make_outcome(options={"group": "primes", "cached": True}, stopped_at=1_700_000_002.0)

    store.save([row, cached])

    assert [task.id for task in store.group("primes")] == [cached.id, row.id]
    assert store.count("primes") == 2
    assert store.delete_group("primes", tasks=True) == 2
    assert store.count("primes") == 0


def test_a_cached_task_can_be_saved_as_a_row(store: RoutedResults) -> None:
    outcome = make_outcome(options={"cached": True})
    store.save([outcome])
    task = store.get(outcome.id)
    assert task is not None

    task.save()

    assert Task.objects.get(pk=outcome.id).stopped_at.timestamp() == pytest.approx(outcome.stopped_at, abs=1e-5)


def test_moments_of_cached_tasks_are_naive_without_time_zones(store: RoutedResults, settings: Any) -> None:
    settings.USE_TZ = False
    outcome = make_outcome(options={"cached": True})
    store.save([outcome])

    task = store.get(outcome.id)

    assert task is not None
    assert task.stopped_at.tzinfo is None
    assert task.stopped_at.timestamp() == pytest.approx(outcome.stopped_at, abs=1e-5)


def test_a_result_in_the_cache_may_expire(store: RoutedResults) -> None:
    outcome = make_outcome(options={"cached": 100})

    store.save([outcome])

    assert caches["default"].touch(f"django_cluster:task:{outcome.id}", 0)
    assert store.get(outcome.id) is None


def test_a_record_of_another_version_is_none_of_ours(store: RoutedResults) -> None:
    outcome = make_outcome()
    caches["default"].set(f"django_cluster:task:{outcome.id}", {"v": 99, "id": outcome.id})

    assert store.get(outcome.id) is None


def test_who_never_caches_does_not_miss_the_cache(store: RoutedResults, break_cache: Callable[[], None]) -> None:
    break_cache()
    outcome = make_outcome(options={"group": "primes"})

    store.save([outcome])

    assert store.finished([outcome.id, "0" * 32]) == {outcome.id}
    assert store.get("0" * 32) is None
    assert store.count("primes") == 1
    assert store.delete(outcome.id)


def test_who_caches_is_told_that_the_cache_is_away(break_cache: Callable[[], None]) -> None:
    break_cache()
    store = open_results(ResultSettings(cached=True))

    with pytest.raises(StoreUnavailable):
        store.save([make_outcome()])
    with pytest.raises(StoreUnavailable):
        store.get("0" * 32)
