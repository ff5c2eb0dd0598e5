"""Django-Q's queue in a collection of MongoDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from django_cluster.django_q.importer.queue import CLAIM_SECONDS, HELD, MessageSource, WaitingMessage
from django_cluster.django_q.importer.source import BATCH
from django_cluster.importing.report import ImportReport

DATABASE = "django-q"
"""Django-Q's name for the database, where nothing else names one."""


def collection_of(written: Mapping[str, Any], name: str) -> Any:
    """The collection of a queue, by the keys ``mongo`` and ``mongo_db``. Raises ``ImportError`` without pymongo."""
    from pymongo import MongoClient

    # Django-Q's locks are moments like those of Django.
    keywords = {"tz_aware": timezone.is_aware(timezone.now()), **written["mongo"]}
    client: Any = MongoClient(**keywords)
    database = written.get("mongo_db") or client.get_default_database(DATABASE).name
    return client[database][name]


class MongoQueue(MessageSource):
    """Claims as Django-Q's clusters do: a document is held while its lock is younger than ``retry`` seconds."""

    def __init__(self, collection: Any, *, retry: float, stopped: bool, dry_run: bool) -> None:
        super().__init__(dry_run=dry_run)
        self._documents, self._stopped = collection, stopped
        self._lease = timedelta(seconds=retry)
        self._last: Any = None
        """In a dry run: the key that was read last."""
        self._refused: list[tuple[Any, Any]] = []

    def find(self) -> Sequence[Any]:
        if self.dry_run:
            after = {"_id": {"$gt": self._last}} if self._last is not None else {}
            page = list(self._documents.find({**self._free(), **after}).sort("_id", 1).limit(BATCH))
            self._last = page[-1]["_id"] if page else self._last
            return page
        claimed = timezone.now() + timedelta(seconds=CLAIM_SECONDS)
        found: list[Any] = []
        while len(found) < BATCH:
            seen = [key for key, _ in self._refused] + [each["_id"] for each in found]  # their locks do not tell
            query = {**self._free(), "_id": {"$nin": seen}}
            if (each := self._documents.find_one_and_update(query, {"$set": {"lock": claimed}})) is None:
                break
            found.append(each)
        return found

    def claim(self, found: Sequence[Any]) -> Sequence[WaitingMessage]:
        return [
            WaitingMessage((each["_id"], each["lock"]), self._documents.name, each["payload"], self._due(each["lock"]))
            for each in found
        ]

    def finish(self, sent: Sequence[WaitingMessage], refused: Sequence[WaitingMessage]) -> None:
        self._documents.delete_many({"_id": {"$in": [message.key[0] for message in sent]}})
        self._refused += [message.key for message in refused]

    def close(self, report: ImportReport) -> None:
        for key, lock in self._refused:
            self._documents.update_one({"_id": key}, {"$set": {"lock": lock}})
        held = {"lock": {"$gt": timezone.now() - self._lease}}
        if not self._stopped and (count := self._documents.count_documents(held)):
            report.leave(HELD, count)

    def _free(self) -> dict[str, Any]:
        return {} if self._stopped else {"lock": {"$lte": timezone.now() - self._lease}}

    def _due(self, lock: datetime) -> datetime | None:
        due = lock + self._lease
        return due if due > timezone.now() else None
