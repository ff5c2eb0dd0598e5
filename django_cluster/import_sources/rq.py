"""``qimport rq``: waiting and delayed jobs of RQ and django-rq, and the schedules of rq-scheduler."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from django_cluster.conf import written_setting
from django_cluster.core.messages import TaskPackage
from django_cluster.errors import ImportSourceUnavailable
from django_cluster.import_sources.calls import Call, open_value, package_of, read_all, send
from django_cluster.import_sources.redis_source import connected, move
from django_cluster.import_sources.schedule_rows import new_schedule, save_schedule
from django_cluster.importing.options import ImportOptions
from django_cluster.importing.redis_claims import ClaimedList, ClaimedSet, Item
from django_cluster.importing.report import ImportReport, NotImportable

SCHEDULED = "rq:scheduler:scheduled_jobs"
"""The sorted set of rq-scheduler: ids of jobs by the moment of their next run."""


def run(options: ImportOptions) -> Iterator[ImportReport]:
    """One report for each part. Raises ``ImportSourceUnavailable``."""
    for url, keywords, names in _servers(options):
        with connected(url, keywords) as redis:
            if options.wants("schedules"):
                yield _schedules(redis, options)
            if options.wants("queue"):
                yield _jobs(redis, names, options)


def _servers(options: ImportOptions) -> Iterator[tuple[str, dict[str, Any], tuple[str, ...]]]:
    """(address, keywords, names of queues) of each server: those of ``RQ_QUEUES``, or the one that is given."""
    queues = written_setting("RQ_QUEUES") or {}
    if options.redis:
        yield options.redis, {}, options.queues or tuple(queues) or ("default",)
        return
    if not queues:
        raise ImportSourceUnavailable("There is no RQ_QUEUES in the settings: say where the queues are, --redis URL.")
    servers: dict[Any, list[str]] = {}
    for name, entry in queues.items():
        if not options.queues or name in options.queues:
            servers.setdefault(_address(entry), []).append(name)
    for (url, keywords), names in servers.items():
        yield url, dict(keywords), tuple(names)


def _address(entry: Mapping[str, Any]) -> tuple[str, tuple[tuple[str, Any], ...]]:
    if url := entry.get("URL"):
        return str(url), ()
    for other in ("SENTINELS", "USE_REDIS_CACHE"):
        if entry.get(other):
            raise ImportSourceUnavailable(f"RQ_QUEUES has {other}, which is not read here: say --redis URL.")
    keys = ("HOST", "PORT", "DB", "USERNAME", "PASSWORD", "SSL", "UNIX_SOCKET_PATH")
    return "", tuple((key.lower(), entry[key]) for key in keys if entry.get(key) is not None)


def _jobs(redis: Any, names: tuple[str, ...], options: ImportOptions) -> ImportReport:
    report = ImportReport("Queue")

    def read(item: Item) -> TaskPackage:
        return package_of(_call(redis, item, options), "rq")

    def forget(item: Item) -> None:
        redis.delete(_key(item))

    for name in names:
        move(ClaimedList(redis, f"rq:queue:{name}", dry_run=options.dry_run), read, options, report, forget)
        move(ClaimedSet(redis, f"rq:scheduled:{name}", dry_run=options.dry_run), read, options, report, forget)
    return report


def _key(item: Item) -> str:
    return f"rq:job:{item.member.decode()}"


def _call(redis: Any, item: Item, options: ImportOptions) -> Call:
    job = {name.decode(): value for name, value in redis.hgetall(_key(item)).items()}
    if not job:
        raise NotImportable("is the id of a job that RQ has deleted.")
    if job.get("dependency_id") or job.get("dependency_ids"):
        raise NotImportable("depends on another job: let RQ finish it.")
    if redis.exists(f"{_key(item)}:dependents"):
        raise NotImportable("has other jobs that depend on it: let RQ finish them.")
    if any(job.get(f"{moment}_callback_name") for moment in ("success", "failure", "stopped")):
        raise NotImportable("has a callback: let RQ finish it.")
    data = job.get("data", b"")
    with suppress(zlib.error):  # an old version did not compress
        data = zlib.decompress(data)
    value = open_value(data, options)
    if not isinstance(value, (tuple, list)) or len(value) != 4:
        raise NotImportable("is no call of RQ.")
    path, instance, args, kwargs = value
    if instance is not None:
        raise NotImportable("is a method of an object: send a function, and a key of the object.")
    timeout = int(job["timeout"]) if job.get("timeout", b"").lstrip(b"-").isdigit() else None
    retries = job.get("retries_left", b"").decode()
    given = {
        "queue": job["origin"].decode() if job.get("origin") else None,
        "timeout": timeout if timeout and timeout > 0 else None,
        "max_attempts": int(retries) + 1 if retries.isdigit() else 1,
        "eta": datetime.fromtimestamp(item.score, UTC) if item.score else None,
        "expires": redis.ttl(_key(item)) if job.get("ttl") else None,
    }
    return Call(item.member.decode(), str(path), tuple(args), kwargs, given)


def _schedules(redis: Any, options: ImportOptions) -> ImportReport:
    """Jobs of rq-scheduler: repeated ones become schedules, others tasks with a delay."""
    report = ImportReport("Schedules")
    claims = ClaimedSet(redis, SCHEDULED, dry_run=options.dry_run)

    def meta_of(item: Item) -> Mapping[str, Any]:
        written = redis.hget(_key(item), "meta")
        found = open_value(written, options) if written else {}
        return found if isinstance(found, Mapping) else {}

    def read(item: Item) -> TaskPackage:
        call, meta = _call(redis, item, options), meta_of(item)
        package = package_of(call, "rq")  # checked in the same way
        if "cron_string" in meta or "interval" in meta:
            _check_schedule(call, item, meta, options)
        return package

    target = options.target()
    try:
        while items := claims.take():
            good, refused, packages = read_all(items, read, report)
            for item, package in zip(good, packages, strict=True):
                meta = meta_of(item)
                if "cron_string" in meta or "interval" in meta:
                    if not options.dry_run:
                        save_schedule(_check_schedule(_call(redis, item, options), item, meta, options))
                else:
                    send(target, [package])
                report.imported += 1
            if not options.dry_run:
                claims.finish(refused)
                for item in good:
                    redis.delete(_key(item))
    finally:
        if not options.dry_run:
            claims.return_refused()
    return report


def _check_schedule(call: Call, item: Item, meta: Mapping[str, Any], options: ImportOptions) -> Any:
    due = datetime.fromtimestamp(item.score or 0, UTC)
    return new_schedule(
        name=f"rq:{call.source_id}"[:100],
        func=call.path,
        args=call.args,
        kwargs=call.kwargs,
        queue=call.options["queue"],
        timeout=call.options["timeout"],
        cron=meta.get("cron_string"),
        seconds=meta.get("interval"),
        zone=None if meta.get("use_local_timezone") else "UTC",
        repeats=int(meta.get("repeat") or -1),
        next_run=due,
    )
