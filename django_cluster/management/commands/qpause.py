"""``manage.py qpause``: let no cluster take tasks from queues, or run functions."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.utils.translation import gettext as _

from django_cluster.conf import load_settings
from django_cluster.management.operating import OperatingCommand, add_end, end_of
from django_cluster.service import get_task_service


class Command(OperatingCommand):
    """Pauses queues and functions."""

    help = _("Pauses queues, or with --task functions, until qresume or the given time. Running tasks go on.")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("queue", nargs="*", help=_("Queues; default: the one of the settings."))
        parser.add_argument(
            "--task", action="append", default=[], metavar="PATH", help=_("A function instead; may be repeated.")
        )
        add_end(parser)
        super().add_arguments(parser)

    def act(self, options: dict[str, Any]) -> dict[str, bool]:
        service, until, by = get_task_service(), end_of(options), options["by"]
        tasks = options["task"]
        queues = options["queue"] or ([] if tasks else [load_settings().queue])
        done = {f"queue {name}": service.pause_queue(name, until, by=by) for name in queues}
        return done | {f"task {path}": service.pause_task(path, until, by=by) for path in tasks}

    def describe(self, target: str, result: bool) -> str:
        return f"{target}: paused." if result else f"{target}: was paused already."
