"""``manage.py qresume``: end the pauses of queues and functions."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.utils.translation import gettext as _

from django_cluster.conf import load_settings
from django_cluster.management.operating import OperatingCommand
from django_cluster.service import get_task_service


class Command(OperatingCommand):
    """Ends pauses."""

    help = _("Ends the pause of queues, or with --task of functions.")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("queue", nargs="*", help=_("Queues; default: the one of the settings."))
        parser.add_argument(
            "--task", action="append", default=[], metavar="PATH", help=_("A function instead; may be repeated.")
        )
        super().add_arguments(parser)

    def act(self, options: dict[str, Any]) -> dict[str, bool]:
        service, by, tasks = get_task_service(), options["by"], options["task"]
        queues = options["queue"] or ([] if tasks else [load_settings().queue])
        done = {f"queue {name}": service.resume_queue(name, by=by) for name in queues}
        return done | {f"task {path}": service.resume_task(path, by=by) for path in tasks}

    def describe(self, target: str, result: bool) -> str:
        return f"{target}: resumed." if result else f"{target}: was not paused."
