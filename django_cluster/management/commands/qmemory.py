"""``manage.py qmemory``: what the processes of every cluster hold in memory, on whatever host."""

from __future__ import annotations

import json
import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.utils.translation import gettext as _

from django_cluster import control
from django_cluster.dashboard import tables
from django_cluster.dashboard.report import as_text
from django_cluster.dashboard.stats import memory_document, memory_table
from django_cluster.dashboard.text import line
from django_cluster.management.base import ReadOnlyCommand, add_interval

WIDTH = 100
CLEAR = "\x1b[H\x1b[2J"


class Command(ReadOnlyCommand):
    """Prints what the clusters say of themselves, again and again, or once."""

    help = _("Prints the memory of every cluster's processes and hosts, until interrupted.")

    stealth_options = ("run_once",)
    """Django-Q's name of ``once`` for ``call_command``."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_interval(parser)
        add = parser.add_argument
        add("--once", "--run-once", action="store_true", dest="once", help=_("Print once and exit."))
        add("--workers", action="store_true", help=_("A line for each worker."))
        add("--json", action="store_true", help=_("Print once, as JSON; kilobytes."))

    def report(self, options: dict[str, Any]) -> None:
        once = options["once"] or options.get("run_once")
        lowest: dict[str, float] = {}
        try:
            while True:
                clusters = control.clusters()
                if options["json"]:
                    self.stdout.write(json.dumps(memory_document(clusters), indent=2))
                    return
                table = memory_table(clusters, workers=options["workers"])
                drawn = [tables.header(table, WIDTH), *tables.body(table, table.rows, WIDTH)]
                for cluster in clusters:
                    if cluster.memory_total:
                        share = 100 * cluster.memory_free / cluster.memory_total
                        lowest[cluster.host] = min(share, lowest.get(cluster.host, 100.0))
                seen = [f"Lowest free memory seen on {host}: {share:.1f}%" for host, share in sorted(lowest.items())]
                text = as_text([*drawn, *([] if clusters else [line(table.empty)]), *map(line, seen)])
                if once or not sys.stdout.isatty():
                    self.stdout.write(text)
                    return
                self.stdout.write(CLEAR + text)
                time.sleep(options["interval"])
        except KeyboardInterrupt:
            pass
