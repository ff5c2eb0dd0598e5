"""The base of the commands that change nothing, and the options that they share."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from django_cluster.core.redaction import redactor
from django_cluster.core.safe_text import printable
from django_cluster.errors import ClusterError

MAX_CHARACTERS = 2000
"""Characters of one sentence that are printed."""


class ReadOnlyCommand(BaseCommand):
    """Prints what ``report`` writes. A ``ClusterError`` becomes a ``CommandError`` with one sentence."""

    requires_system_checks = ()  # a report helps to find out what is wrong

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.report(options)
        except ClusterError as error:
            raise CommandError(sentence(error)) from error

    def report(self, options: dict[str, Any]) -> None:
        """Print the report."""
        raise NotImplementedError


def sentence(text: object) -> str:
    """Return a text from a row or a message for printing: credentials masked, in one line."""
    return printable(redactor().text(str(text)), MAX_CHARACTERS)


def add_name(parser: ArgumentParser) -> None:
    text = _("Queues to show, as in qcluster: one of ALT_CLUSTERS or any other, several (a,b), or '*'.")
    parser.add_argument("-n", "--name", action="append", default=[], metavar="NAME", help=text)


def names_of(options: dict[str, Any]) -> list[str]:
    """The values of ``--name``; ``call_command`` may give one string, or nothing."""
    given = options.get("name")
    return [given] if isinstance(given, str) else list(given or ())


def add_interval(parser: ArgumentParser) -> None:
    text = _("Seconds between two refreshes (%(default)s).")
    parser.add_argument("--interval", type=interval, default=2.0, help=text)


def interval(text: str) -> float:
    """Parse seconds. argparse prints the error."""
    seconds = float(text)
    if not 0.5 <= seconds <= 3600:
        raise ArgumentTypeError(_("The interval is from 0.5 to 3600 seconds."))
    return seconds
