"""What the commands that only look have in common: their head, and what becomes of an error."""

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
    """Shows something; a subclass says what in ``look``. An error of ours is a sentence."""

    requires_system_checks = ()  # whoever looks wants to see, whatever is wrong

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.report(options)
        except ClusterError as error:
            raise CommandError(sentence(error)) from error

    def report(self, options: dict[str, Any]) -> None:
        """Print what there is to see."""
        raise NotImplementedError


def sentence(text: object) -> str:
    """A text from a row or a message as it may be printed: without credentials, in one line."""
    return printable(redactor().text(str(text)), MAX_CHARACTERS)


def add_name(parser: ArgumentParser) -> None:
    text = _("Queues to look at, as in qcluster: one of ALT_CLUSTERS or any other, several (a,b), or '*'.")
    parser.add_argument("-n", "--name", action="append", default=[], metavar="NAME", help=text)


def names_of(options: dict[str, Any]) -> list[str]:
    """What was given with ``--name``; a program may give a text, or nothing at all."""
    given = options.get("name")
    return [given] if isinstance(given, str) else list(given or ())


def add_interval(parser: ArgumentParser) -> None:
    parser.add_argument("--interval", type=interval, default=2.0, help=_("Seconds between two looks (%(default)s)."))


def interval(text: str) -> float:
    """Seconds; argparse turns the error into a sentence."""
    seconds = float(text)
    if not 0.5 <= seconds <= 3600:
        raise ArgumentTypeError(_("Between half a second and an hour."))
    return seconds
