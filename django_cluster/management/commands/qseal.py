"""``manage.py qseal``: lists the schedules without a valid seal, and seals them."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import router
from django.utils.translation import gettext as _

from django_cluster.conf import load_settings
from django_cluster.core.safe_text import printable
from django_cluster.models.schedule import Schedule, ScheduleQuerySet
from django_cluster.models.schedule_seal import is_sealed


class Command(BaseCommand):
    """List the schedules without a valid seal, or seal them."""

    help = _(
        "Lists the schedules that were added or changed by SQL and are therefore not run, and seals those that are"
        " named."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("ids", nargs="*", type=int, metavar="ID", help=_("Seal these schedules as they are now."))
        parser.add_argument("--all", action="store_true", help=_("Seal all of them. Look at the list before."))

    def handle(self, *args: Any, **options: Any) -> None:
        alias = load_settings().results.database or router.db_for_write(Schedule)
        rows = {row.pk: row for row in ScheduleQuerySet(Schedule, using=alias).order_by("pk") if not is_sealed(row)}
        wanted = list(rows) if options["all"] else options["ids"]
        if unknown := [str(key) for key in wanted if key not in rows]:
            raise CommandError(f"No schedule without a seal has the id {', '.join(unknown)}.")
        for key, row in rows.items():
            if key in wanted:
                row.accept()
                row.save(using=alias)
            what = "sealed" if key in wanted else "without a seal"
            # A row that was written by SQL may be made to deceive the operator who seals it.
            calls = printable(f"{row.func}({_arguments(row)}), hook {row.hook or 'none'}")
            self.stdout.write(f"{key} {row}: {calls}: {what}")
        if not rows:
            self.stdout.write("All schedules have a seal.")


def _arguments(row: Schedule) -> str:
    return ", ".join(filter(None, (row.args, row.kwargs)))
