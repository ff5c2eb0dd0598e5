"""``manage.py qcluster``: run a cluster in this process until it is told to stop."""

from __future__ import annotations

import os
import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import replace
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from django_cluster.brokers import open_broker
from django_cluster.cluster.inherited import close_before_fork
from django_cluster.cluster.logs import show_logs
from django_cluster.cluster.sentinel import Sentinel
from django_cluster.conf import load_cluster
from django_cluster.core.settings import BrokerSettings, Settings
from django_cluster.errors import InvalidSettings
from django_cluster.lifecycle.probing import missing_before_start


class Command(BaseCommand):
    """Parses, loads the settings, hands over to the sentinel."""

    help = _("Starts a cluster: the sentinel and its monitor, pusher, workers and scheduler.")

    def add_arguments(self, parser: ArgumentParser) -> None:
        names = _("Queues to work on: one of ALT_CLUSTERS or any other, several (a,b), with weights (a:5,b:1), or '*'.")
        parser.add_argument("-n", "--name", "-q", "--queue", action="append", default=[], metavar="NAME", help=names)
        parser.add_argument("--broker", default="", help=_("One of brokers, instead of what the settings say."))
        parser.add_argument("--workers", type=count, help=_("Number of workers, instead of the setting."))
        parser.add_argument("--no-scheduler", action="store_true", help=_("Leave the schedules to other clusters."))
        parser.add_argument("--run-once", action="store_true", help=_("Start, and stop as soon as all is running."))

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            loaded = load_cluster(options["name"], options["broker"])
            for section in (loaded.broker, *(share.broker for share in loaded.shares)):
                refuse_memory(section)
                # Connects to nothing; a missing library or an unknown option is said once, and not by each child.
                open_broker(section)
        except InvalidSettings:
            raise
        except (ValueError, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from error
        if lacking := missing_before_start(loaded):
            raise CommandError(lacking)
        settings = adjusted(loaded, options["workers"], scheduler=not options["no_scheduler"])
        self.stderr.style_func = None  # not every line of the log is an error
        show_logs(settings.log_level, self.stderr)
        # The sentinel forks: what is open here would be shared by every child.
        close_before_fork(pools=True)
        sys.exit(Sentinel(settings, stop_at_once if options["run_once"] else lambda: None).run())


def refuse_memory(section: BrokerSettings) -> None:
    """Nobody could put anything there, and the cluster would wait for ever, without a word."""
    if section.kind == "memory":
        raise CommandError(
            f"The queue {section.queue} lives in the memory of the process that sends (broker 'memory'), for tests:"
            " no cluster can work on it. Choose another broker."
        )


def stop_at_once() -> None:
    """As if somebody had asked for it: to see whether a cluster comes up at all."""
    os.kill(os.getpid(), signal.SIGTERM)


def count(text: str) -> int:
    """A number of processes; argparse turns the error into a sentence."""
    number = int(text)
    if number < 1:
        raise ArgumentTypeError(_("There must be at least one."))
    return number


def adjusted(settings: Settings, workers: int | None, *, scheduler: bool) -> Settings:
    """The settings with what the command line says otherwise."""
    if workers is not None:
        settings = replace(settings, crew=replace(settings.crew, workers=workers))
    if not scheduler:
        settings = replace(settings, schedule=replace(settings.schedule, enabled=False))
    return settings
