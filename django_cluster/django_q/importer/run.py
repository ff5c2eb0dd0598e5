"""``qimport django_q``: the parts, from where ``Q_CLUSTER`` says that Django-Q has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django_cluster.client.client import get_client
from django_cluster.conf import configured, known_queues
from django_cluster.core.signing import secret_bytes
from django_cluster.django_q.importer import source_broker
from django_cluster.django_q.importer.mongo_queue import MongoQueue, collection_of
from django_cluster.django_q.importer.orm_queue import OrmQueue
from django_cluster.django_q.importer.packages import PackageReader
from django_cluster.django_q.importer.queue import MessageSource, move
from django_cluster.django_q.importer.redis_queue import RedisQueue
from django_cluster.django_q.importer.results import ResultImporter
from django_cluster.django_q.importer.schedules import ScheduleImporter
from django_cluster.django_q.importer.source import Source, SourceMessage, SourceSchedule, SourceTask, has_table
from django_cluster.django_q.importer.sqs_queue import SqsQueue, client_of
from django_cluster.errors import ImportSourceUnavailable
from django_cluster.importing.options import (
    ImportOptions,
    forbids_pickle,
    results_database,
    schedule_zone,
    value_signer,
)
from django_cluster.importing.report import ImportReport

PARTS = ("schedules", "results", "queue")
RETRY_SECONDS = 60
"""Django-Q's default of ``retry``."""
TIMEOUTS = {"socket_connect_timeout": 10, "socket_timeout": 30}
MISSING = (
    "Django-Q's queue in {where} cannot be read without {library}: pip install 'django-cluster[{extra}]'."
    " Without the queue: --only schedules,results."
)


def run(options: ImportOptions) -> Iterator[ImportReport]:
    """One report for each part. Raises ``ImportSourceUnavailable``."""
    takers = {"schedules": _schedules, "results": _results, "queue": _queue}
    for part in PARTS:
        if options.wants(part):
            report = ImportReport(part.capitalize())
            takers[part](options, report)
            yield report


def _schedules(options: ImportOptions, report: ImportReport) -> None:
    if _has(SourceSchedule, options, report):
        ScheduleImporter(
            source=options.database,
            database=results_database(),
            zone=schedule_zone(),
            functions=get_client().settings.signing.functions,
            dry_run=options.dry_run,
        ).run(report)


def _results(options: ImportOptions, report: ImportReport) -> None:
    if _has(SourceTask, options, report):
        ResultImporter(
            value_signer(),
            source=options.database,
            database=results_database(),
            trusted=options.trust_pickles,
            dry_run=options.dry_run,
            forbidden=forbids_pickle(),
        ).run(report)


def _queue(options: ImportOptions, report: ImportReport) -> None:
    """The rows of the table, if there is one, and the queue of the broker that ``Q_CLUSTER`` names."""
    written = configured() if isinstance(configured(), Mapping) else {}
    kind = source_broker.REDIS if options.redis else source_broker.kind_of(written)
    if not options.redis and (has_table(SourceMessage, options.database) or kind == "orm"):
        _table(options, written, report)
    if kind == source_broker.REDIS:
        _redis(options, written, report)
    elif kind == "sqs":
        _sqs(options, written, report)
    elif kind == "mongo":
        _mongo(options, written, report)
    elif kind != "orm":
        report.notes.append(
            f"Q_CLUSTER names {kind!r}: a queue there is not read. Let Django-Q finish what waits in it."
        )
    elif not report.imported:
        report.notes.append("If Django-Q had its queue in Redis, say where: --redis URL.")


def _table(options: ImportOptions, written: Mapping[str, Any], report: ImportReport) -> None:
    alias = written.get("orm")
    database = alias if isinstance(alias, str) and options.database == "default" else options.database
    if not has_table(SourceMessage, database):
        report.missing = _no_table(SourceMessage, database)
        return
    retry = _retry(written)
    _move([OrmQueue(database, retry=retry, stopped=options.stopped, dry_run=options.dry_run)], options, report)


def _redis(options: ImportOptions, written: Mapping[str, Any], report: ImportReport) -> None:
    try:
        import redis
    except ImportError as error:
        raise ImportSourceUnavailable(MISSING.format(where="Redis", library="redis-py", extra="redis")) from error
    if options.redis:
        try:
            server = redis.Redis.from_url(options.redis, **TIMEOUTS)
        except ValueError as error:
            raise ImportSourceUnavailable(f"The address of Redis cannot be used: {error}") from error
    else:
        server = source_broker.redis_of(written, **TIMEOUTS)
    try:
        _move([RedisQueue(server, name, dry_run=options.dry_run) for name in _names(options)], options, report)
    except redis.RedisError as error:
        if options.redis or source_broker.names_redis(written):
            raise ImportSourceUnavailable(f"Redis cannot be used: {error}") from error
        report.notes.append(
            f"Q_CLUSTER names no broker, so that Django-Q used Redis on this machine, which does not answer:"
            f" {error} If it was elsewhere, say where: --redis URL."
        )
    finally:
        server.close()


def _sqs(options: ImportOptions, written: Mapping[str, Any], report: ImportReport) -> None:
    try:
        client = client_of(written["sqs"])
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise ImportSourceUnavailable(MISSING.format(where="SQS", library="boto3", extra="sqs")) from error
    try:
        _move([SqsQueue(client, name, dry_run=options.dry_run) for name in _names(options)], options, report)
    except (BotoCoreError, ClientError) as error:
        raise ImportSourceUnavailable(f"SQS cannot be used: {error}") from error
    finally:
        client.close()


def _mongo(options: ImportOptions, written: Mapping[str, Any], report: ImportReport) -> None:
    try:
        from pymongo.errors import PyMongoError
    except ImportError as error:
        raise ImportSourceUnavailable(MISSING.format(where="MongoDB", library="pymongo", extra="mongo")) from error
    try:
        for name in _names(options):
            collection = collection_of(written, name)
            with collection.database.client:
                source = MongoQueue(collection, retry=_retry(written), stopped=options.stopped, dry_run=options.dry_run)
                _move([source], options, report)
    except PyMongoError as error:
        raise ImportSourceUnavailable(f"MongoDB cannot be used: {error}") from error


def _move(sources: Sequence[MessageSource], options: ImportOptions, report: ImportReport) -> None:
    reader, target = package_reader(options.site), options.target()
    for source in sources:
        move(source, reader, target, report)


def _names(options: ImportOptions) -> Sequence[str]:
    return options.queues or ((options.site,) if options.site else known_queues())


def _retry(written: Mapping[str, Any]) -> float:
    given = written.get("retry")
    return float(given) if isinstance(given, (int, float)) else RETRY_SECONDS


def _has(source: Source, options: ImportOptions, report: ImportReport) -> bool:
    if not has_table(source, options.database):
        report.missing = _no_table(source, options.database)
    return not report.missing


def _no_table(source: Source, database: str) -> str:
    return f"The database {database!r} has no table {source._meta.db_table}."


def package_reader(site: str = "") -> PackageReader:
    """Reads the packages that Django-Q has signed under this name; by default that of the settings."""
    client = get_client()
    settings, signing = client.settings, client.settings.signing
    return PackageReader(
        secret_bytes(signing.secret),
        [secret_bytes(each) for each in signing.fallbacks],
        site or settings.name,
        home=settings.queue,
        compose=client.chained,
        forbidden=signing.serializer == "json",
        functions=signing.functions,
    )
