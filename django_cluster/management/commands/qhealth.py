"""``manage.py qhealth``: whether tasks are run, as an exit code for probes and scripts."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError
from django.utils.translation import gettext as _

from django_cluster import control
from django_cluster.conf import load_settings
from django_cluster.errors import ClusterError
from django_cluster.management.base import sentence
from django_cluster.management.operating import span
from django_cluster.service import get_task_service

UNHEALTHY = 3


class Command(BaseCommand):
    """Prints the health of the project's tasks, and ends with an exit code that says the same."""

    help = _("Says whether tasks are run: whether clusters live, and servers answer.")
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.epilog = _("Exit codes: 0 tasks are run; 1 the settings or the database cannot be used; 3 they are not.")
        parser.add_argument(
            "--here", action="store_true", help=_("Ask only whether a cluster of this host is running.")
        )
        parser.add_argument("--strict", action="store_true", help=_("Exit code 3 also if some tasks are late."))
        parser.add_argument(
            "--max-latency", type=span(), metavar="SECONDS", help=_("The longest usual wait that is not late.")
        )
        parser.add_argument("--json", action="store_true", help=_("Print JSON."))

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            load_settings()  # the service would call a mistake in them ill health
            report = _of_this_host() if options["here"] else get_task_service().health(options["max_latency"])
        except (ClusterError, DatabaseError, ImproperlyConfigured) as error:
            raise CommandError(sentence(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(report, indent=2))
        else:
            for line in (report["status"], *report["reasons"]):
                self.stdout.write(line)
        if report["status"] not in (("healthy",) if options["strict"] else ("healthy", "degraded")):
            sys.exit(UNHEALTHY)


def _of_this_host() -> dict[str, Any]:
    here = os.uname().nodename
    phases = [each.state for each in control.clusters() if each.host == here]
    if "running" in phases:
        return {"status": "healthy", "reasons": []}
    found = f"The cluster on {here} is {phases[0]}." if phases else f"No cluster runs on {here}."
    return {"status": "unhealthy", "reasons": [found]}
