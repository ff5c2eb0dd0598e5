"""``manage.py qenqueue``: send a task from the command line."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils.translation import gettext as _

from django_cluster.core.events.cluster import OPERATOR_ACTED, UNNAMED
from django_cluster.core.function_signatures import load_function
from django_cluster.management.operating import OperatingCommand
from django_cluster.tasks import async_task


class Command(OperatingCommand):
    """Sends one task."""

    help = _("Sends a task, and prints its id. Arguments are JSON; what is no JSON is a text.")

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("func", help=_("Dotted path of the function."))
        parser.add_argument("arg", nargs="*", help=_("Arguments, such as 42 or '[1, 2]' or ada@example.com."))
        parser.add_argument("--kwargs", default="{}", metavar="JSON", help=_("Keyword arguments, as a JSON object."))
        parser.add_argument("--options", default="{}", metavar="JSON", help=_("Options of the task, as a JSON object."))
        parser.add_argument("--queue", help=_("The queue; default: that of the task or of the settings."))
        super().add_arguments(parser)

    def act(self, options: dict[str, Any]) -> dict[str, Any]:
        load_function(options["func"])  # a misspelt path would fail in a worker, long after
        given = from_json("--options", options["options"])
        if options["queue"] is not None:
            given["queue"] = options["queue"]
        kwargs = from_json("--kwargs", options["kwargs"])
        args = [value_of(text) for text in options["arg"]]
        if reserved := kwargs.keys() & {"q_options"}:
            raise CommandError(f"--kwargs cannot have {', '.join(reserved)}.")
        task_id = async_task(options["func"], *args, q_options=given, **kwargs)
        OPERATOR_ACTED.log(act="enqueue", target=f"{options['func']} {task_id}", by=options["by"] or UNNAMED)
        return {"id": task_id}

    def describe(self, target: str, result: str) -> str:
        return result


def value_of(text: str) -> Any:
    """JSON, or else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def from_json(name: str, text: str) -> dict[str, Any]:
    """The object that the JSON describes. Raises ``CommandError``."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise CommandError(f"{name}: {error}.") from error
    if not isinstance(found, dict):
        raise CommandError(f'{name} is a JSON object, such as {{"name": 1}}.')
    return found
