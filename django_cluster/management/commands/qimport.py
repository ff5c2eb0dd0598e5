"""``manage.py qimport``: take over what a project has in another task queue, or say beforehand what will differ."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import replace
from importlib import import_module
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections
from django.utils.translation import gettext as _

from django_cluster.errors import ClusterError, ImportSourceUnavailable
from django_cluster.importing.options import ImportOptions
from django_cluster.importing.report import ImportReport, table
from django_cluster.management.base import sentence

SOURCES = {
    "django_q": ("django_cluster.django_q.importer.run", ("schedules", "results", "queue")),
    "celery_beat": ("django_cluster.import_sources.celery_beat", ("schedules",)),
    "rq": ("django_cluster.import_sources.rq", ("schedules", "queue")),
    "huey": ("django_cluster.import_sources.huey", ("queue",)),
    "tasks_db": ("django_cluster.import_sources.tasks_db", ("queue",)),
}
"""Source → the module that imports it, and its parts."""
CHECK = "check"


class Command(BaseCommand):
    """Parses, has each part taken over, and prints the table of what came of it."""

    help = _("Imports schedules, results and waiting tasks from another task queue. Nothing is imported twice.")

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = _("The source to import from; check: say what of this project will behave otherwise than in Django-Q.")
        parser.add_argument("source", choices=[*SOURCES, CHECK], help=what)
        parser.add_argument("--only", help=_("Some of the parts, such as schedules,results,queue; default: all."))
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help=_("The database of the source's tables."))
        parser.add_argument("--dry-run", action="store_true", help=_("Read and check everything, change nothing."))
        stopped = _("The source's workers are stopped: take over the tasks that they held as well.")
        parser.add_argument("--stopped", action="store_true", help=stopped)
        parser.add_argument("--site", help=_("The name under which Django-Q signed; default: that of Q_CLUSTER."))
        redis = _("Import queued tasks from the queues of the source in this Redis.")
        parser.add_argument("--redis", metavar="URL", help=redis)
        parser.add_argument("--queues", help=_("The names of the source's queues; default: those of the settings."))
        parser.add_argument(
            "--trust-pickles",
            action="store_true",
            help=_("Import arguments and results of any class. This lets anyone who can write to the source run code."),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["source"] == CHECK:
            self._check(_options(options, SOURCES["django_q"][1]))
            return
        module, parts = SOURCES[options["source"]]
        wanted = _options(options, parts)
        reports: list[ImportReport] = []
        try:
            for report in import_module(module).run(wanted):
                reports.append(report)
        except ImportSourceUnavailable as error:
            self._print(reports, wanted)
            raise CommandError(sentence(error)) from error
        except ClusterError as error:
            self._print(reports, wanted)
            raise CommandError(f"The import was interrupted, and can be repeated: {sentence(error)}") from error
        self._print(reports, wanted)

    def _print(self, reports: list[ImportReport], options: ImportOptions) -> None:
        if reports:
            self.stdout.write("\n".join(map(sentence, table(reports, dry_run=options.dry_run))))

    def _check(self, options: ImportOptions) -> None:
        from django_cluster.django_q.importer.check import findings

        count = 0
        for found in findings(replace(options, dry_run=True)):
            self.stdout.write(sentence(found))
            count += 1
        self.stdout.write(f"Findings: {count}." if count else "Nothing was found that will behave otherwise.")


def _options(given: dict[str, Any], parts: tuple[str, ...]) -> ImportOptions:
    only = tuple(given["only"].split(",")) if given["only"] else ()
    if unknown := set(only) - set(parts):
        raise CommandError(f"--only knows {', '.join(parts)}, not {', '.join(sorted(unknown))}.")
    if given["database"] not in connections.databases:
        raise CommandError(f"There is no database {given['database']!r} in DATABASES.")
    return ImportOptions(
        database=given["database"],
        parts=only,
        dry_run=given["dry_run"],
        trust_pickles=given["trust_pickles"],
        stopped=given["stopped"],
        site=given["site"] or "",
        queues=tuple(given["queues"].split(",")) if given["queues"] else (),
        redis=given["redis"] or "",
    )
