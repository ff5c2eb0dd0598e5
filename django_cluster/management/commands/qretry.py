"""``manage.py qretry``: run failed tasks again, under their ids."""

from __future__ import annotations

from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError
from django.utils.translation import gettext as _

from django_cluster.management.operating import OperatingCommand, span
from django_cluster.service import get_task_service

FAILED = "failed tasks"
MOST_ROWS = 2**31 - 1
"""The largest limit that every database takes."""


class Command(OperatingCommand):
    """Retries tasks."""

    help = _("Runs failed tasks again, under their ids. Attempts are counted anew, and the earlier runs are kept.")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", nargs="*", help=_("Task ids."))
        parser.add_argument("--failed", action="store_true", help=_("All failed tasks that were not retried."))
        parser.add_argument("--queue", help=_("With --failed: only those of this queue."))
        parser.add_argument(
            "--hours", type=span(3600), help=_("With --failed: only those that failed in the last hours.")
        )
        parser.add_argument("--limit", type=int, help=_("With --failed: at most this many, the oldest first."))
        super().add_arguments(parser)

    def act(self, options: dict[str, Any]) -> dict[str, Any]:
        service, by = get_task_service(), options["by"]
        if options["failed"] == bool(options["id"]):
            raise CommandError(_("Give task ids, or --failed."))
        if not options["failed"]:
            return {each: service.retry_task(each, by=by) for each in options["id"]}
        if options["limit"] is not None and options["limit"] < 1:
            raise CommandError(_("--limit must be at least 1."))
        limit = None if options["limit"] is None else min(options["limit"], MOST_ROWS)
        chosen = {"hours": options["hours"], "limit": limit}
        return {FAILED: asdict(service.retry_failed(options["queue"], **chosen, by=by))}

    def describe(self, target: str, result: Any) -> str:
        if isinstance(result, dict):
            errors = "".join(f" {each}" for each in result["errors"])
            return f"{result['sent']} tasks were retried.{errors}"
        return f"{target}: retried." if result else f"{target}: no failed task that was not retried has this id."

    def is_done(self, result: Any) -> bool:
        return bool(result["sent"] if isinstance(result, dict) else result)
