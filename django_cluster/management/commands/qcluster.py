"""``manage.py qcluster``: run a cluster in this process until it is told to stop."""

from __future__ import annotations

import os
import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from django_cluster.brokers import needs_delay_queue, open_broker
from django_cluster.brokers.publisher import delay_queue
from django_cluster.cluster.bootstrap.fork_safety import close_before_fork
from django_cluster.cluster.bootstrap.logs import configure_logs, level_of
from django_cluster.cluster.supervisor.sentinel import ExitCode, Sentinel
from django_cluster.conf import configures_logging, load_cluster
from django_cluster.core.revision import find_revision
from django_cluster.core.settings import BrokerSettings, Settings
from django_cluster.errors import BrokerError, InvalidSettings
from django_cluster.lifecycle.middleware_stack import load_middleware
from django_cluster.lifecycle.probing import obstacle_to_start
from django_cluster.management.development import RELOADED, DevelopmentCluster, own_command, runserver_command
from django_cluster.management.source_watcher import SourceWatcher, project_roots


class Command(BaseCommand):
    """Start a cluster: load the settings and run the sentinel in this process."""

    help = _("Starts a cluster: the sentinel and its monitor, pusher, workers and scheduler.")

    stealth_options = ("cluster_name",)
    """Django-Q's name of ``name`` for ``call_command`` and for commands that inherit from this one."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.epilog = _(
            "Exit codes: 0 stopped gracefully; 1 could not start; 3 crash loop: its processes died repeatedly;"
            " 4 running tasks were interrupted; 5 tasks are left (--until-empty)."
        )
        names = _("Queues to work on: one of ALT_CLUSTERS or any other, several (a,b), with weights (a:5,b:1), or '*'.")
        excluded = _("Queues to leave out, also as a pattern (mail*); without --name, of all that the settings name.")
        parser.add_argument("-n", "--name", "-q", "--queue", action="append", default=[], metavar="NAME", help=names)
        parser.add_argument("--exclude-queue", action="append", default=[], metavar="NAME", help=excluded)
        broker = _("A broker of the setting brokers, instead of the configured one.")
        parser.add_argument("--broker", default="", help=broker)
        parser.add_argument("--workers", type=count, help=_("Number of workers, instead of the setting."))
        schedules = parser.add_mutually_exclusive_group()
        schedules.add_argument("--no-scheduler", action="store_true", help=_("Dispatch no schedules."))
        schedules.add_argument(
            "--scheduler-only", action="store_true", help=_("Only dispatch schedules; run no tasks.")
        )
        end = parser.add_mutually_exclusive_group()
        end.add_argument(
            "--until-empty",
            "--once",
            action="store_true",
            help=_("Run the queued tasks, and stop when none is left that is due."),
        )
        end.add_argument(
            "--run-once",
            action="store_true",
            help=_("Start, and stop as soon as all is running (as in Django-Q); see --until-empty."),
        )
        end.add_argument(
            "--reload",
            action="store_true",
            help=_("For development: restart the cluster, between tasks, when a file of the project has changed."),
        )
        parser.add_argument(
            "--with-runserver",
            nargs="?",
            const="",
            metavar="ADDRPORT",
            help=_("Run the development server, too, and reload both; they end together."),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["scheduler_only"] and (options["workers"] or options["until_empty"]):
            raise CommandError("--scheduler-only runs no tasks: leave out --workers and --until-empty.")
        develops = options["reload"] or options["with_runserver"] is not None
        if develops and not os.environ.pop(RELOADED, ""):
            sys.exit(self._develop(options))
        settings = adjusted(self._loaded(options), options)
        if options["scheduler_only"] and not settings.schedule.enabled:
            raise CommandError("--scheduler-only has nothing to do: the setting scheduler is False.")
        self.stderr.style_func = None  # not every line of the log is an error
        configure_logs(settings, self.stderr)
        # The sentinel forks: what is open here would be shared by every child.
        close_before_fork(pools=True)
        sentinel = Sentinel(
            settings,
            stop_at_once if options["run_once"] else lambda: None,
            scheduler_only=options["scheduler_only"],
            until_empty=options["until_empty"],
        )
        code = sentinel.run()
        if options["until_empty"] and code == ExitCode.GRACEFUL and (left := tasks_left(settings)):
            self.stderr.write("\n".join(left))
            code = ExitCode.TASKS_LEFT
        sys.exit(code)

    def _develop(self, options: dict[str, Any]) -> int:
        """Run the cluster as a program that is restarted when a file has changed."""
        if options["with_runserver"] is not None and (options["until_empty"] or options["run_once"]):
            raise CommandError("--with-runserver runs until it is stopped: leave out --until-empty and --run-once.")
        self.stderr.style_func = None
        configure_logs(adjusted(self._settings(options), options), self.stderr)
        address = options["with_runserver"]
        server = None if address is None else runserver_command(address, options["pythonpath"])
        return DevelopmentCluster(own_command(), SourceWatcher(project_roots()), server).run()

    @staticmethod
    def _settings(options: dict[str, Any]) -> Settings:
        names = options["name"] or [name for name in [options.get("cluster_name")] if name]
        return load_cluster(names, options["broker"], options["exclude_queue"])

    @classmethod
    def _loaded(cls, options: dict[str, Any]) -> Settings:
        try:
            loaded = cls._settings(options)
            load_middleware(loaded.signing.middleware)
            for section in (loaded.broker, *(share.broker for share in loaded.queue_settings)):
                refuse_memory(section)
                # Connects to nothing; a missing library or an unknown option is said once, and not by each child.
                open_broker(section)
        except InvalidSettings:
            raise
        except (ValueError, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from error
        if obstacle := obstacle_to_start(loaded):
            raise CommandError(obstacle)
        return loaded


def refuse_memory(section: BrokerSettings) -> None:
    """Raise ``CommandError`` for the broker in memory: no other process could send to such a queue."""
    if section.kind == "memory":
        raise CommandError(
            f"The queue {section.queue} is in the memory of the sending process (broker 'memory', for tests):"
            " no cluster can work on it. Choose another broker."
        )


def stop_at_once() -> None:
    """Send SIGTERM to this process: ``--run-once`` shows whether a cluster starts at all."""
    os.kill(os.getpid(), signal.SIGTERM)


def count(text: str) -> int:
    """A number of processes; argparse turns the error into a sentence."""
    number = int(text)
    if number < 1:
        raise ArgumentTypeError(_("At least one is required."))
    return number


def adjusted(settings: Settings, options: dict[str, Any]) -> Settings:
    """The settings with what the command line says otherwise."""
    if options["workers"] is not None:
        settings = replace(settings, processes=replace(settings.processes, workers=options["workers"]))
    if options["no_scheduler"]:
        settings = replace(settings, schedule=replace(settings.schedule, enabled=False))
    if settings.processes.post_mortem and not settings.processes.revision:
        settings = replace(settings, processes=replace(settings.processes, revision=find_revision(Path.cwd())))
    return replace(
        settings,
        log_level=level_of(options["verbosity"], settings.log_level),
        log_tasks=options["verbosity"] >= 2,
        log_root=not configures_logging(),
    )


def tasks_left(settings: Settings) -> list[str]:
    """Return a sentence for each queue that still has tasks, or whose broker is unavailable."""
    sentences = []
    for section in settings.broker_sections:
        try:
            size = open_broker(section).size()
            delayed = size.delayed
            if needs_delay_queue(section):
                delayed += delay_queue(section).size().total
        except BrokerError as error:
            sentences.append(f"Queue {section.queue}: the remaining tasks could not be counted: {error}")
            continue
        counts = ((size.ready, "ready"), (delayed, "delayed"), (size.leased, "leased by other clusters"))
        if left := ", ".join(f"{number} {what}" for number, what in counts if number):
            sentences.append(f"Left in queue {section.queue}: {left}.")
    return sentences
