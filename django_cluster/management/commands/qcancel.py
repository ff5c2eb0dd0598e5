"""``manage.py qcancel``: cancel tasks, whether they wait or run."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.utils.translation import gettext as _

from django_cluster.control import CancelResult
from django_cluster.management.operating import OperatingCommand
from django_cluster.service import get_task_service

SENTENCES = {
    CancelResult.CANCELLED: "cancelled.",
    CancelResult.REQUESTED: "does not wait in this queue; the cluster that has it cancels it.",
    CancelResult.TOO_LATE: "too late: it has ended.",
}


class Command(OperatingCommand):
    """Cancels tasks."""

    help = _("Cancels tasks and groups: what waits never runs, what runs is stopped.")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", nargs="+", help=_("Ids of tasks or groups, or group labels."))
        parser.add_argument("--queue", help=_("Where they wait; default: the queue of the settings."))
        super().add_arguments(parser)

    def act(self, options: dict[str, Any]) -> dict[str, CancelResult]:
        service = get_task_service()
        return {each: service.cancel_task(each, options["queue"], by=options["by"]) for each in options["id"]}

    def describe(self, target: str, result: CancelResult) -> str:
        return f"{target}: {SENTENCES[result]}"
