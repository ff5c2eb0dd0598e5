"""What the commands that only look have in common: their head, and what becomes of an error."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from django_cluster.errors import ClusterError


class LookingCommand(BaseCommand):
    """Shows something; a subclass says what in ``look``. An error of ours is a sentence."""

    requires_system_checks = ()  # whoever looks wants to see, whatever is wrong

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.look(options)
        except ClusterError as error:
            raise CommandError(str(error)) from error

    def look(self, options: dict[str, Any]) -> None:
        """Print what there is to see."""
        raise NotImplementedError


def add_name(parser: ArgumentParser) -> None:
    parser.add_argument("-n", "--name", help=_("Cluster whose settings to use; one of ALT_CLUSTERS."))


def add_interval(parser: ArgumentParser) -> None:
    parser.add_argument("--interval", type=interval, default=2.0, help=_("Seconds between two looks (%(default)s)."))


def interval(text: str) -> float:
    """Seconds; argparse turns the error into a sentence."""
    seconds = float(text)
    if not 0.5 <= seconds <= 3600:
        raise ArgumentTypeError(_("Between half a second and an hour."))
    return seconds
