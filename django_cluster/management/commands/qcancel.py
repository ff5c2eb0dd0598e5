"""``manage.py qcancel``: take waiting tasks out of their queue."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.utils.translation import gettext as _

from django_cluster.management.operating import OperatingCommand
from django_cluster.service import get_task_service


class Command(OperatingCommand):
    """Cancels tasks."""

    help = _("Cancels tasks that wait in a queue. What runs already goes on.")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("id", nargs="+", help=_("Task ids."))
        parser.add_argument("--queue", help=_("Where they wait; default: the queue of the settings."))
        super().add_arguments(parser)

    def act(self, options: dict[str, Any]) -> dict[str, bool]:
        service = get_task_service()
        return {each: service.cancel_task(each, options["queue"], by=options["by"]) for each in options["id"]}

    def describe(self, target: str, result: bool) -> str:
        return f"{target}: cancelled." if result else f"{target}: does not wait in this queue."
