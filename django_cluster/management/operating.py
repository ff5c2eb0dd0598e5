"""The base of the commands that act: ``qenqueue``, ``qretry``, ``qpause``, ``qresume``, ``qcancel``."""

from __future__ import annotations

import getpass
import json
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _

from django_cluster.errors import LONGEST_DURATION, ClusterError
from django_cluster.management.base import sentence

NOTHING_DONE = 3
"""Exit code of a command that had nothing to do."""
OF_THE_INPUT = (ValueError, TypeError, LookupError, OverflowError, RecursionError)
"""What the checks of texts, numbers, times and JSON raise."""


class OperatingCommand(BaseCommand):
    """Acts by ``act``, and prints what was done: a sentence for each target, or JSON.

    Exit codes: 0 done, 1 an error, 3 nothing had to be done, for any of the targets.
    """

    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.epilog = _("Exit codes: 0 done; 1 an error; 3 there was nothing to do.")
        parser.add_argument("--by", default="", help=_("Who does it; default: the user of this program, and its host."))
        parser.add_argument("--json", action="store_true", help=_("Print JSON."))

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            done = self.act({**options, "by": options["by"] or operator()})
        except (ClusterError, DatabaseError, ImproperlyConfigured, *OF_THE_INPUT) as error:
            raise CommandError(sentence(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(done, indent=2, default=str))
        else:
            for target, result in done.items():
                self.stdout.write(sentence(self.describe(target, result)))
        if not any(map(self.is_done, done.values())):
            sys.exit(NOTHING_DONE)

    def act(self, options: dict[str, Any]) -> Mapping[str, Any]:
        """Act; returns target → what was done."""
        raise NotImplementedError

    def describe(self, target: str, result: Any) -> str:
        """What was done, as a sentence."""
        raise NotImplementedError

    def is_done(self, result: Any) -> bool:
        """Whether anything was done for a target."""
        return bool(result)


def operator() -> str:
    """The user who runs this program, and the host: ``ada@web1``."""
    name = str(os.getuid())
    with suppress(OSError, KeyError, ImportError):  # a container may have no user of this number
        name = getpass.getuser()
    return f"{name}@{os.uname().nodename}"


def add_end(parser: ArgumentParser) -> None:
    """``--until`` and ``--for``."""
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--until", metavar="TIME", help=_("When the pause ends, such as 2026-12-24T18:00."))
    end.add_argument("--for", dest="lasts", type=span(), metavar="SECONDS", help=_("For how many seconds to pause."))


def span(unit: float = 1.0) -> Callable[[str], float]:
    """The type of an option that is a time span: up to 100 years. ``unit``: seconds in its unit."""

    def number(text: str) -> float:
        value = float(text)
        if not 0 <= value * unit <= LONGEST_DURATION:  # NaN is not, either
            raise ArgumentTypeError(f"a number from 0 to {LONGEST_DURATION / unit:.0f} is expected, not {text}")
        return value

    return number


def end_of(options: dict[str, Any]) -> datetime | timedelta | None:
    """The end that the options name. Raises ``CommandError``."""
    if options["lasts"] is not None:
        return timedelta(seconds=options["lasts"])
    if options["until"] is None:
        return None
    found = parse_datetime(options["until"])
    if found is None:
        raise CommandError(_("--until is a date and a time, such as 2026-12-24T18:00."))
    return found
