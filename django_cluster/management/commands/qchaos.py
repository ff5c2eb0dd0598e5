"""``manage.py qchaos``: a chaos test with the settings of the project."""

from __future__ import annotations

import json
import logging
import secrets
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from django_cluster.conf import debugging, load_settings
from django_cluster.core.settings import Settings
from django_cluster.errors import ClusterError
from django_cluster.testing.chaos.analysis import analyse
from django_cluster.testing.chaos.observations import Observations
from django_cluster.testing.chaos.pausing import Pausing
from django_cluster.testing.chaos.plan import NETWORK, FaultKind, Target
from django_cluster.testing.chaos.report import as_json, as_text
from django_cluster.testing.chaos.run import Run
from django_cluster.testing.chaos.run_options import RunOptions
from django_cluster.testing.chaos.sandbox import Sandbox

WARNING = """\
DEBUG is off, so this may be production. qchaos starts a separate cluster with these settings:

    queue     chaos-..., a new one, on the broker that the settings name ({broker})
    rows      about {rows}, in the database that the settings name; deleted at the end
    killed    processes of this cluster, and no others
    paused    {paused}

Tasks and schedules of the project are not touched, but the load is real. Add --yes to confirm."""

COULD_NOT_RUN = 2
KINDS = ", ".join(FaultKind)
TARGETS = [target for target in Target if target is not Target.NOTIFIER]


class Command(BaseCommand):
    """Parse options, load settings, execute a run, print its report."""

    help = _(
        "Runs a temporary cluster under load, kills its processes at random, and reports lost and duplicate tasks."
        " Exit codes: 0 every guarantee held; 1 one was violated; 2 it could not run."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        default, add = RunOptions(), parser.add_argument
        add("-n", "--name", help=_("Cluster whose settings to use; one of ALT_CLUSTERS."))
        add("--seconds", type=float, default=default.seconds, help=_("How long to send tasks (%(default)s)."))
        add("--rate", type=float, default=default.rate, help=_("Tasks to send in a second (%(default)s)."))
        add("--every", type=float, default=default.every, help=_("Mean seconds between two faults (%(default)s)."))
        add("--lease", type=float, default=default.lease, help=_("Seconds of a lease, instead of retry (%(default)s)."))
        add("--seed", type=int, help=_("Repeat the plan of an earlier run."))
        add(
            "--events",
            type=kinds,
            metavar="KIND,...",
            help=_("Faults to inject: all, or some of {kinds}.").format(kinds=KINDS),
        )
        add("--freeze", action="store_true", help=_("Freeze processes, and the server, for longer than a lease."))
        add("--network", action="store_true", help=_("Delay, drop and reset connections, and lose responses."))
        add("--clock", action="store_true", help=_("Set the clock of the cluster to a wrong time now and then."))
        add("--only", nargs="+", default=(), choices=TARGETS, help=_("Affect only these targets."))
        add("--sentinel", action="store_true", help=_("Kill the sentinel too, and start another."))
        add("--pause-broker", type=int, metavar="PID", help=_("Pause this process and its children now and then."))
        add("--pause-command", default="", help=_("Shell command that pauses the broker's server."))
        add("--resume-command", default="", help=_("Shell command that resumes it."))
        add("--keep", action="store_true", help=_("Keep the rows, and the folder with the log."))
        add("--json", action="store_true", help=_("Print the figures as JSON."))
        add("--figures", metavar="FILE", type=Path, help=_("Write the figures as JSON to this file, too."))
        add("--yes", action="store_true", help=_("Run although DEBUG is off."))

    def handle(self, *args: Any, **options: Any) -> None:
        settings = load_settings(options["name"])
        try:
            run_options = run_options_from(options)
            require_confirmation(settings, run_options, yes=options["yes"])
            sandbox = Sandbox.create(settings, run_options.lease)
            observations = self._run_faults(sandbox, run_options, options["verbosity"])
        except ClusterError as error:
            raise CommandError(str(error), returncode=COULD_NOT_RUN) from error
        analysis = analyse(observations)
        self.stdout.write(
            json.dumps(as_json(observations, analysis)) if options["json"] else as_text(observations, analysis)
        )
        if options["figures"]:
            options["figures"].write_text(json.dumps(as_json(observations, analysis)))
        if run_options.keep or analysis.findings:
            self.stderr.write(f"The log and the journals are in {sandbox.folder}.")
        else:
            sandbox.remove()
        if analysis.findings:
            sys.exit(1)

    def _run_faults(self, sandbox: Sandbox, run_options: RunOptions, verbosity: int) -> Observations:
        def say(sentence: str) -> None:
            if verbosity:
                self.stderr.write(sentence)

        say(f"{run_options.seconds:g} seconds of faults, seed {run_options.seed}; the log is {sandbox.log}.")
        try:
            with logging_to(sandbox, on_screen=verbosity > 1):
                return Run(sandbox, run_options, say).run()
        except ClusterError as error:
            raise ClusterError(f"{error} See {sandbox.log}.") from error
        except BaseException:
            sandbox.remove()
            raise


def kinds(text: str) -> frozenset[FaultKind]:
    """The kinds that are named; ``all`` means all of them. Raises ``ValueError`` for others."""
    return (
        frozenset(FaultKind)
        if text == "all"
        else frozenset(FaultKind(name) for name in text.replace(" ", "").split(","))
    )


def events_from(options: dict[str, Any]) -> frozenset[FaultKind]:
    """The kinds of ``--events`` (default: kill) and of the switches."""
    events = options["events"] or frozenset({FaultKind.KILL})
    for switch, more in (("freeze", {FaultKind.FREEZE}), ("network", set(NETWORK)), ("clock", {FaultKind.CLOCK})):
        if options[switch]:
            events |= more
    return events


def run_options_from(options: dict[str, Any]) -> RunOptions:
    """Raises ``ClusterError`` for wishes that cannot be fulfilled."""
    numbers = {name: options[name] for name in ("seconds", "rate", "every", "lease")}
    if wrong := [name for name, value in numbers.items() if not value > 0]:
        raise ClusterError(f"--{wrong[0]} has to be more than 0.")
    pausing = Pausing(options["pause_broker"], options["pause_command"], options["resume_command"])
    pausing.check()
    seed = secrets.randbelow(1_000_000) if options["seed"] is None else options["seed"]
    switches = {name: options[name] for name in ("sentinel", "keep")}
    confined = tuple(options["only"])
    return RunOptions(seed=seed, pausing=pausing, events=events_from(options), only=confined, **switches, **numbers)


def require_confirmation(settings: Settings, run_options: RunOptions, *, yes: bool) -> None:
    """Raise ``ClusterError`` if ``DEBUG`` is off and the run is not confirmed by ``--yes``."""
    if yes or debugging():
        return
    paused = "the server of the broker, for all its clients, repeatedly" if run_options.pausing.possible else "nothing"
    rows = int(run_options.rate * run_options.seconds)
    raise ClusterError(WARNING.format(broker=settings.broker.kind, rows=rows, paused=paused))


@contextmanager
def logging_to(sandbox: Sandbox, *, on_screen: bool) -> Iterator[None]:
    """Within the block the log of the cluster goes to a file of the sandbox."""
    logger = logging.getLogger("django_cluster")
    before = (logger.handlers, logger.level, logger.propagate)
    file = logging.FileHandler(sandbox.log)
    handlers: list[logging.Handler] = [file, *([logging.StreamHandler()] if on_screen else [])]
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s [%(process)d] %(levelname)s %(message)s"))
    logger.handlers, logger.propagate = handlers, False
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.handlers, logger.level, logger.propagate = before
        file.close()
