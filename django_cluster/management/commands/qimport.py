"""``manage.py qimport django_q``: take over what a project has in Django-Q's tables."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections
from django.utils.translation import gettext as _

from django_cluster.client.client import get_client
from django_cluster.conf import configured, known_queues
from django_cluster.core.signing import ValueSigner, secret_bytes
from django_cluster.django_q.importer import source_broker
from django_cluster.django_q.importer.packages import PackageReader
from django_cluster.django_q.importer.queue import TargetQueue, import_list, import_rows
from django_cluster.django_q.importer.report import ImportReport
from django_cluster.django_q.importer.results import ResultImporter
from django_cluster.django_q.importer.schedules import ScheduleImporter
from django_cluster.django_q.importer.source import Source, SourceMessage, SourceSchedule, SourceTask, has_table
from django_cluster.errors import ClusterError
from django_cluster.management.base import sentence

PARTS = ("schedules", "results", "queue")


class Command(BaseCommand):
    """Parses, takes each part over, and says what came of it."""

    help = _("Imports the schedules, results and queued tasks of Django-Q. Stop its clusters first.")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("source", choices=["django_q"], help=_("The source to import from."))
        parser.add_argument("--only", help=_("Some of schedules,results,queue; default: all three."))
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help=_("The database of Django-Q's tables."))
        parser.add_argument("--dry-run", action="store_true", help=_("Read and check everything, change nothing."))
        parser.add_argument("--site", help=_("The name under which Django-Q signed; default: that of Q_CLUSTER."))
        redis = _("Import queued tasks from Django-Q's lists in this Redis.")
        parser.add_argument("--redis", metavar="URL", help=redis)
        parser.add_argument("--queues", help=_("With --redis: the names of its queues; default: the namespace."))
        parser.add_argument(
            "--trust-pickles",
            action="store_true",
            help=_("Import arguments and results of any class. This lets anyone who can write to the table run code."),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        parts = (options["only"] or ",".join(PARTS)).split(",")
        if unknown := set(parts) - set(PARTS):
            raise CommandError(f"--only knows {', '.join(PARTS)}, not {', '.join(sorted(unknown))}.")
        if options["database"] not in connections.databases:
            raise CommandError(f"There is no database {options['database']!r} in DATABASES.")
        try:
            for part in PARTS:
                if part in parts:
                    report = ImportReport(part.capitalize())
                    self._take(part, report, options)
                    self.stdout.write("\n".join(map(sentence, report.lines(dry_run=options["dry_run"]))))
        except ClusterError as error:
            raise CommandError(f"The import was interrupted, and can be repeated: {sentence(error)}") from error

    def _take(self, part: str, report: ImportReport, options: dict[str, Any]) -> None:
        tables: dict[str, tuple[Source, Callable[..., None]]] = {
            "schedules": (SourceSchedule, take_schedules),
            "results": (SourceTask, take_results),
            "queue": (SourceMessage, take_queue),
        }
        source, take = tables[part]
        if part == "queue" and options["redis"]:
            take_redis(report, options)
            return
        kind = source_broker.kind_of(configured()) if part == "queue" else ""
        if has_table(source, options["database"]):
            take(report, options)
        elif kind != source_broker.REDIS:
            report.missing = f"the database {options['database']!r} has no table {source._meta.db_table}."
        if kind == source_broker.REDIS:
            take_redis(report, options)
        elif kind and kind not in source_broker.READABLE:
            report.notes.append(
                f"Q_CLUSTER names {kind!r}: a queue there is not read. Let Django-Q finish what waits in it."
            )
        elif kind and not report.imported:
            report.notes.append("If Django-Q had its queue in Redis, say where: --redis URL.")


def take_schedules(report: ImportReport, options: dict[str, Any]) -> None:
    client = get_client()
    zone = client.settings.schedule.time_zone
    ScheduleImporter(
        source=options["database"],
        database=str(client.results.database),
        zone=ZoneInfo(zone) if zone else None,
        functions=client.settings.signing.functions,
        dry_run=options["dry_run"],
    ).run(report)


def take_results(report: ImportReport, options: dict[str, Any]) -> None:
    client = get_client()
    signing = client.settings.signing
    ResultImporter(
        ValueSigner(signing.secret, signing.fallbacks, signing.serializer),
        source=options["database"],
        database=str(client.results.database),
        trusted=options["trust_pickles"],
        dry_run=options["dry_run"],
        forbidden=signing.serializer == "json",
    ).run(report)


def take_queue(report: ImportReport, options: dict[str, Any]) -> None:
    import_rows(reader(options), TargetQueue(get_client(), dry_run=options["dry_run"]), options["database"], report)


def take_redis(report: ImportReport, options: dict[str, Any]) -> None:
    try:
        import redis
    except ImportError as error:
        raise CommandError(
            "Django-Q's queue in Redis cannot be read without redis-py: pip install 'django-cluster[redis]'."
            " Without the queue: --only schedules,results."
        ) from error
    given = options["queues"] or options["site"]
    names = given.split(",") if given else known_queues()
    timeouts = {"socket_connect_timeout": 10, "socket_timeout": 30}
    server = (
        redis.Redis.from_url(options["redis"], **timeouts)
        if options["redis"]
        else source_broker.redis_of(configured(), **timeouts)
    )
    try:
        for name in names:
            import_list(reader(options), TargetQueue(get_client(), dry_run=options["dry_run"]), server, name, report)
    except redis.RedisError as error:
        if options["redis"] or source_broker.names_redis(configured()):
            raise CommandError(f"Redis cannot be used: {sentence(error)}") from error
        report.notes.append(
            f"Q_CLUSTER names no broker, so that Django-Q used Redis on this machine, which does not answer:"
            f" {sentence(error)} If it was elsewhere, say where: --redis URL."
        )
    finally:
        server.close()


def reader(options: dict[str, Any]) -> PackageReader:
    client = get_client()
    settings, signing = client.settings, client.settings.signing
    site = options["site"] or settings.name
    return PackageReader(
        secret_bytes(signing.secret),
        [secret_bytes(each) for each in signing.fallbacks],
        site,
        home=settings.queue,
        compose=client.chained,
        forbidden=signing.serializer == "json",
        functions=signing.functions,
    )
