"""``qimport huey``: tasks that wait in huey's Redis, those with a delay included.

Its periodic tasks are decorators: ``@periodic_task(crontab(…))`` becomes ``@cron_task("…")``.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django_cluster.conf import databases, written_setting
from django_cluster.core.messages import TaskPackage
from django_cluster.errors import ImportSourceUnavailable
from django_cluster.import_sources.calls import Call, open_value, package_of
from django_cluster.import_sources.redis_source import connected, move
from django_cluster.importing.options import ImportOptions
from django_cluster.importing.redis_claims import ClaimedList, ClaimedSet, Item
from django_cluster.importing.report import ImportReport, NotImportable


class HueyMessage(tuple[Any, ...]):
    """The fields of a message of huey, in its order; older versions have fewer."""

    def __new__(cls, *fields: Any) -> HueyMessage:
        return super().__new__(cls, fields)

    def field(self, place: int) -> Any:
        return self[place] if place < len(self) else None


def run(options: ImportOptions) -> Iterator[ImportReport]:
    """One report. Raises ``ImportSourceUnavailable``."""
    report = ImportReport("Queue")
    written = written_setting("HUEY")
    entry: dict[str, Any] = written if isinstance(written, dict) else {}
    address = dict(entry.get("connection") or {})
    url = options.redis or entry.get("url") or address.pop("url", "") or ""
    names = options.queues or (str(entry.get("name") or databases()["default"]["NAME"]),)
    if not options.redis and not entry:
        raise ImportSourceUnavailable("HUEY is no dict in the settings: say where it is, --redis URL --queues NAME.")
    keys = {"host", "port", "db", "password", "username", "unix_socket_path", "ssl"}

    def read(item: Item) -> TaskPackage:
        return package_of(_call(item, options), "huey")

    with connected(url, {key: value for key, value in address.items() if key in keys}) as redis:
        for name in (re.sub("[^A-Za-z0-9_]", "", name) for name in names):
            queue = f"huey.redis.{name}"
            if redis.type(queue) == b"zset":
                move(
                    ClaimedSet(redis, queue, dry_run=options.dry_run),
                    lambda item: read(_unprefixed(item)),
                    options,
                    report,
                )
            else:
                claims = ClaimedList(redis, queue, dry_run=options.dry_run, from_tail=True)
                move(claims, read, options, report)
            move(ClaimedSet(redis, f"huey.schedule.{name}", dry_run=options.dry_run), read, options, report)
    yield report


def _unprefixed(item: Item) -> Item:
    """An item of a queue with priorities, without the moment before it."""
    return Item(item.member[8:])


def _call(item: Item, options: ImportOptions) -> Call:
    value = open_value(_unpacked(item.member), options, {("huey.registry", "Message"): HueyMessage})
    if not isinstance(value, HueyMessage):
        raise NotImportable("is no message of huey.")
    if value.field(8) or value.field(9) or value.field(13):
        raise NotImportable("is a part of a pipeline or a chord, or has a task for its failure: let huey finish it.")
    eta, retries, delay, priority = (value.field(place) for place in (2, 3, 4, 5))
    given = {
        "eta": _aware(eta),
        "max_attempts": (retries or 0) + 1,
        "retry_delay": delay or None,
        "priority": priority,
        "timeout": value.field(12),
        "expires": _aware(value.field(11)),
    }
    name = re.sub(r"\.queuecmd_(?=\w+$)", ".", str(value.field(1)))
    return Call(str(value.field(0)), name, tuple(value.field(6) or ()), value.field(7) or {}, given)


def _unpacked(data: bytes) -> bytes:
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)
    return zlib.decompress(data) if data[:1] == b"\x78" else data


def _aware(eta: datetime | None) -> datetime | None:
    """Huey stores moments in UTC, without their zone."""
    return eta.replace(tzinfo=UTC) if eta is not None and eta.tzinfo is None else eta
