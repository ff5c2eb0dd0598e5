"""``manage.py qmonitor``: the clusters, their queues and tasks, in a terminal."""

from __future__ import annotations

import json
import os
import shutil
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError
from django.utils.translation import gettext as _

from django_cluster.dashboard.refresher import Refresher
from django_cluster.dashboard.report import as_text, lines
from django_cluster.management.base import ReadOnlyCommand, add_interval, add_name, names_of
from django_cluster.management.monitoring import CONTROLS, is_ascii_only, no_records_on_terminal, open_collector

NOT_INSTALLED = 3
"""Exit code if blessed is not installed."""
QUERY_TIMEOUT = ("BLESSED_QUERY_TIMEOUT_SECONDS", "0.4")
"""The variable that blessed reads when it is imported, and its default here: blessed queries the terminal twice before
it draws, and would wait five seconds for each missing response."""
JSON_PARTS = ("clusters", "queues", "waiting", "ended", "failures", "schedules", "totals")
TABLE_PARTS = ("clusters", "queues", "failures")


class Command(ReadOnlyCommand):
    """Show the dashboard; without a terminal, print one table."""

    help = _("Shows clusters, workers, queues, tasks, failures and schedules; without a terminal, one plain table.")

    stealth_options = ("run_once",)
    """Django-Q's name of ``once`` for ``call_command``."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.epilog = _(
            "Exit codes: 0, also after an interrupt; 1 invalid settings; 3 the library blessed is missing."
        )
        add_name(parser)
        add_interval(parser)
        add = parser.add_argument
        add("--once", "--run-once", action="store_true", dest="once", help=_("Print one plain table and exit."))
        add("--json", action="store_true", help=_("Print everything once, as JSON."))
        operate = _("Allow retrying and cancelling tasks, pausing queues and restarting workers.")
        add("--operate", action="store_true", help=operate)
        add("--ascii", action="store_true", help=_("Draw with ASCII characters only."))

    def report(self, options: dict[str, Any]) -> None:
        once = options["once"] or options.get("run_once")
        ascii_only = options["ascii"] or is_ascii_only()
        if options["json"]:
            self.stdout.write(json.dumps(self._seen(names_of(options), JSON_PARTS).as_json(), indent=2))
        elif once or not (sys.stdin.isatty() and sys.stdout.isatty()):
            width = max(80, shutil.get_terminal_size((120, 24)).columns)
            seen = self._seen(names_of(options), TABLE_PARTS)
            self.stdout.write(as_text(lines(seen, width, ascii_only=ascii_only)))
        else:
            self._show(options, ascii_only=ascii_only)

    @staticmethod
    def _seen(names: list[str], parts: tuple[str, ...]) -> Any:
        collector = open_collector(names)
        try:
            return collector.collect(parts)
        finally:
            collector.close()

    @staticmethod
    def _show(options: dict[str, Any], *, ascii_only: bool) -> None:
        os.environ.setdefault(*QUERY_TIMEOUT)
        try:
            from django_cluster.dashboard.screen import Screen
        except ImportError as error:
            sentence = _("The screen needs blessed: pip install django-cluster[monitor]. Without it: qmonitor --once.")
            raise CommandError(sentence, returncode=NOT_INSTALLED) from error
        controls = CONTROLS if options["operate"] else {}
        refresher = Refresher(open_collector(names_of(options)), options["interval"], controls)
        screen = Screen(refresher, ascii_only=ascii_only, operate=options["operate"], interval=options["interval"])
        refresher.start()
        try:
            with no_records_on_terminal():
                screen.run()
        except KeyboardInterrupt:
            pass
        finally:
            refresher.stop()
