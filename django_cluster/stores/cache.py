"""Results in a Django cache: quick, gone some day, and never a row.

The keys do not name a queue, so a result is found whichever cluster ran the task. The members of a
group are numbered by the cache itself, so two monitors cannot lose each other's. The cache knows a task
by its id only, not by its name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from hashlib import sha256
from typing import Any, TypeVar

from django.core.cache import BaseCache, caches

from django_cluster.core.messages import Outcome
from django_cluster.core.settings import ResultSettings
from django_cluster.errors import StoreUnavailable
from django_cluster.models import Task
from django_cluster.stores.base import ResultStore
from django_cluster.stores.rows import (
    SUCCESS,
    Deduplicated,
    EarlierRuns,
    attempt_of,
    deduplicate,
    lifetime_in_cache,
    numbered_in_row,
    truncated,
    with_history,
)
from django_cluster.stores.transient_task import transient_task

Key = TypeVar("Key")

RECORD_VERSION = 1
NOT_IN_THE_RECORD = frozenset({"number", "receipt", "payload"})

Record = Mapping[str, Any]
"""An outcome as plain values, so that a renamed class cannot make it unreadable."""


class CachedResults(ResultStore):
    """Keeps outcomes in the cache that the section names, each for as long as its task asks."""

    def __init__(self, section: ResultSettings) -> None:
        self._section = section

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def batch(self) -> AbstractContextManager[None]:
        """A cache has no transactions; what is written twice is written alike."""
        return nullcontext()

    def save(self, outcomes: Sequence[Outcome]) -> None:
        numbered = [numbered_in_row(outcome) for outcome in outcomes]
        cached = [each for each in deduplicate(numbered) if lifetime_in_cache(each.outcome, self._section)]
        if not cached:
            return
        with self._cache() as cache:
            known = self._records(cache, [each.outcome.id for each in cached if _may_be_known(each.outcome)])
            news = [_with_history(each, known.get(each.outcome.id)) for each in cached if _is_news(each, known)]
            for timeout, part in _by(news, self._timeout).items():
                self._keep(cache, part, timeout)
                for group, members in _by(part, _group).items():
                    if group:
                        self._join(cache, group, [each.outcome.id for each in members], timeout)

    def _timeout(self, each: Deduplicated) -> int | None:
        lifetime = lifetime_in_cache(each.outcome, self._section)
        return None if lifetime is True else lifetime

    def _keep(self, cache: BaseCache, part: Sequence[Deduplicated], timeout: int | None) -> None:
        refused = cache.set_many({_key(each.outcome.id): _record(each) for each in part}, timeout)
        if not refused:
            return
        reason = ValueError("The cache did not take it; is it too large?")
        rest = {_key(e.outcome.id): e._replace(outcome=truncated(e.outcome, reason)) for e in part}
        if cache.set_many({key: _record(rest[key]) for key in refused}, timeout):
            raise StoreUnavailable(f"The cache {self._section.cache!r} takes no results.")

    def _join(self, cache: BaseCache, group: str, task_ids: Sequence[str], timeout: int | None) -> None:
        size = _group_key(group)
        cache.add(size, 0, timeout)
        last = cache.incr(size, len(task_ids))
        cache.touch(size, timeout)
        numbers = range(last - len(task_ids) + 1, last + 1)
        members = zip(numbers, task_ids, strict=True)
        cache.set_many({_group_key(group, number): task_id for number, task_id in members}, timeout)

    def finished(self, task_ids: Sequence[str]) -> set[str]:
        with self._cache() as cache:
            records = self._records(cache, task_ids)
        return {task_id for task_id, record in records.items() if record["status"] == SUCCESS}

    # ── reading ──────────────────────────────────────────────────────────────────────────────────

    def get(self, id_or_name: str) -> Task | None:
        with self._cache() as cache:
            record = self._records(cache, [id_or_name]).get(id_or_name)
        return _task(record) if record else None

    def group(self, group_id: str, *, failures: bool = True) -> list[Task]:
        with self._cache() as cache:
            records = self._records(cache, self._members(cache, group_id)).values()
        tasks = [_task(record) for record in records if failures or record["status"] == SUCCESS]
        return sorted(tasks, key=lambda task: task.stopped_at, reverse=True)

    def count(self, group_id: str, *, failures: bool = False) -> int:
        return sum(1 for task in self.group(group_id) if not failures or not task.success)

    def knows_group(self, group_id: str) -> bool:
        """Whether any task has ever joined this group, and is not forgotten."""
        with self._cache() as cache:
            return cache.get(_group_key(group_id)) is not None

    def delete(self, task_id: str) -> bool:
        with self._cache() as cache:
            return cache.delete(_key(task_id))

    def delete_group(self, group_id: str, *, tasks: bool = True) -> int:
        """The members always go as well: in a cache nothing else would ever find them again."""
        with self._cache() as cache:
            members = self._members(cache, group_id)
            cache.delete_many([*map(_key, members), *_member_keys(cache, group_id), _group_key(group_id)])
        return len(members)

    def _members(self, cache: BaseCache, group_id: str) -> list[str]:
        return list(dict.fromkeys(cache.get_many(_member_keys(cache, group_id)).values()))

    def _records(self, cache: BaseCache, task_ids: Sequence[str]) -> dict[str, Record]:
        found = cache.get_many([_key(task_id) for task_id in task_ids]) if task_ids else {}
        return {record["id"]: record for record in found.values() if record["v"] == RECORD_VERSION}

    @contextmanager
    def _cache(self) -> Iterator[BaseCache]:
        try:
            yield caches[self._section.cache]
        except StoreUnavailable:
            raise
        except Exception as error:
            # Each kind of cache has errors of its own, and all of them mean that it cannot be used now.
            raise StoreUnavailable(f"The cache {self._section.cache!r} cannot be used: {error!r}") from error


def _key(task_id: str) -> str:
    return f"django_cluster:task:{_short(task_id)}"


def _group_key(group: str, number: int | None = None) -> str:
    """The key of a group's size, or of one of its members."""
    name = f"django_cluster:group:{sha256(group.encode('utf-8', 'replace')).hexdigest()[:32]}"
    return name if number is None else f"{name}:{number}"


def _short(task_id: str) -> str:
    """Ids are short words; a key of any other text could be refused by the cache."""
    return (
        task_id if task_id.isalnum() and len(task_id) <= 100 else sha256(task_id.encode("utf-8", "replace")).hexdigest()
    )


def _member_keys(cache: BaseCache, group: str) -> list[str]:
    return [_group_key(group, number) for number in range(1, cache.get(_group_key(group), 0) + 1)]


def _group(each: Deduplicated) -> str | None:
    group: str | None = each.outcome.options.get("group")
    return group


def _may_be_known(outcome: Outcome) -> bool:
    """Whether an earlier record has to be read: a success at the first attempt replaces any record."""
    return outcome.attempt > 1 or outcome.status != SUCCESS


def _is_news(each: Deduplicated, known: Mapping[str, Record]) -> bool:
    record = known.get(each.outcome.id)
    return record is None or (record["status"] != SUCCESS and record["attempt"] <= each.outcome.attempt)


def _with_history(each: Deduplicated, record: Record | None) -> Deduplicated:
    if record is None:
        return with_history(each, None)
    return with_history(each, EarlierRuns(record["attempt"], record["attempts"], attempt_of(_outcome(record))))


def _record(each: Deduplicated) -> Record:
    plain = {name: value for name, value in each.outcome._asdict().items() if name not in NOT_IN_THE_RECORD}
    return {"v": RECORD_VERSION, **plain, "attempts": list(each.before)}


def _outcome(record: Record) -> Outcome:
    return Outcome(number=0, receipt="", **{name: record[name] for name in Outcome._fields if name in record})


def _task(record: Record) -> Task:
    return transient_task(_outcome(record), record["attempts"])


def _by(items: Sequence[Deduplicated], key: Callable[[Deduplicated], Key]) -> dict[Key, list[Deduplicated]]:
    parts: dict[Key, list[Deduplicated]] = defaultdict(list)
    for item in items:
        parts[key(item)].append(item)
    return parts
