"""``manage.py qinfo``: figures, the ids of clusters, or every setting and where it comes from."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from django.utils.translation import gettext as _

from django_cluster import control
from django_cluster.conf import effective_settings
from django_cluster.dashboard.diagnosis.diagnosis import Diagnosis, diagnose
from django_cluster.dashboard.diagnosis.fact_collector import FactCollector
from django_cluster.dashboard.state_labels import about, count, total
from django_cluster.dashboard.stats import LostCluster, Stats, stats_of
from django_cluster.dashboard.text import duration
from django_cluster.management.base import ReadOnlyCommand, add_name, names_of, sentence
from django_cluster.management.monitoring import delay_queue_broker, open_collector, settings_of


class Command(ReadOnlyCommand):
    """Collect one snapshot, and print it."""

    help = _(
        "Prints statistics of clusters, queues and tasks; with --config every setting and its origin; with --why why a"
        " task does not run."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.epilog = _(
            "Exit codes of --why: 0 it has run, or nothing prevents it; 3 it waits until it is due, or for a worker;"
            " 4 an operator has to act; 5 nothing is known of it."
        )
        add_name(parser)
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--config", action="store_true", help=_("Print every setting, its value and its origin."))
        what.add_argument("--ids", action="store_true", help=_("Print the ids of the running clusters."))
        what.add_argument(
            "--why", metavar="ID|QUEUE", help=_("Say why a task (id or name), a queue or a schedule does not run.")
        )
        parser.add_argument("--json", action="store_true", help=_("Print as JSON."))

    def report(self, options: dict[str, Any]) -> None:
        names = names_of(options)
        if options["config"]:
            self._config(settings_of(names).queue if names else None, as_json=options["json"])
        elif options["why"] is not None:
            self._why(options["why"], names, as_json=options["json"])
        elif options["ids"]:
            ids = [cluster.id for cluster in control.clusters()]
            self.stdout.write(
                json.dumps(ids) if options["json"] else "\n".join(map(sentence, ids)), ending="\n" if ids else ""
            )
        else:
            self._figures(names, as_json=options["json"])

    def _why(self, target: str, names: list[str], *, as_json: bool) -> None:
        collector = open_collector(names)
        try:
            found = printable(diagnose(FactCollector(collector, settings_of(names), delay_queue_broker).ask(target)))
        finally:
            collector.close()
        self.stdout.write(json.dumps(found.as_json(), indent=2) if as_json else why_text(found))
        if found.exit_code:
            sys.exit(found.exit_code)

    def _figures(self, names: list[str], *, as_json: bool) -> None:
        collector = open_collector(names)
        seen = collector.collect(("clusters", "queues", "totals"))
        for problem in seen.problems:
            self.stderr.write(sentence(problem))
        figures = stats_of(seen, str(collector.database))
        collector.close()
        self.stdout.write(json.dumps(asdict(figures), indent=2) if as_json else as_text(figures))

    def _config(self, name: str | None, *, as_json: bool) -> None:
        rows = effective_settings(name)
        if as_json:
            document = {row.key: {"value": row.text, "origin": row.origin} for row in rows}
            self.stdout.write(json.dumps(document, indent=2))
            return
        wide = max(len(row.key) for row in rows)
        long = max(len(row.text) for row in rows if len(row.text) < 60)
        for row in rows:
            self.stdout.write(f"{row.key:<{wide}}  {row.text:<{long}}  {row.origin}")


def printable(found: Diagnosis) -> Diagnosis:
    """Mask credentials and escape control characters: errors and names may contain any text."""
    reasons = [replace(each, sentence=sentence(each.sentence), advice=sentence(each.advice)) for each in found.reasons]
    return replace(found, reasons=tuple(reasons), unseen=tuple(map(sentence, found.unseen)))


def why_text(found: Diagnosis) -> str:
    """A line for each reason, the decisive one first; below it the advice, and last what could not be determined."""
    lines = []
    for reason in found.reasons:
        lines.append(f"{reason.conclusion.name.lower():<8} {reason.sentence}")
        if reason.advice:
            lines.append(f"{'':<8} {reason.advice}")
    return "\n".join([*lines, *(f"{'unknown':<8} {text}" for text in found.unseen)])


def as_text(figures: Stats) -> str:
    """Three columns, as Django-Q's."""
    away = len(figures.unknown)

    def waiting(number: int | None) -> str:
        return total([] if number is None else [number], unknown=away)

    def rows_of(number: int) -> str:
        return count(number, more=number >= figures.counted_to > 0)

    rows: list[list[tuple[str, object]]] = [
        [("Clusters", figures.clusters), ("Workers", figures.workers), ("Restarts", count(figures.restarts))],
        [
            ("Queued", waiting(figures.queued)),
            ("Delayed", waiting(figures.delayed)),
            ("Leased", waiting(figures.leased)),
        ],
        [
            ("Successes", rows_of(figures.successes)),
            ("Failures", rows_of(figures.failures)),
            ("Schedules", rows_of(figures.schedules)),
        ],
        [
            ("Tasks/day", count(round(figures.tasks_per_day))),
            ("Tasks/hour", f"{figures.tasks_per_hour:.2f}"),
            ("Tasks/minute", f"{figures.tasks_per_minute:.2f}"),
        ],
        [
            ("Tasks/second", f"{figures.tasks_per_second:.2f}"),
            ("Average time", f"{figures.average_time:.3f}s"),
            ("Average run", f"{figures.average_run:.3f}s"),
        ],
    ]
    lines = ["   ".join(f"{name:<13}{value!s:>10}" for name, value in row) for row in rows]
    return "\n".join([*lines, *map(sentence, (*map(lost_line, figures.lost), *_trouble(figures)))])


def _trouble(figures: Stats) -> Iterator[str]:
    """Unavailable and paused queues, and late schedules, one line each."""
    if figures.unknown:
        yield f"Unavailable: {', '.join(figures.unknown)}"
    for pause in figures.paused:
        yield f"Paused: {pause.queue}, {about(pause.age)}{' by ' if pause.by else ''}{pause.by}"
    if figures.late:
        yield f"Late schedules: {count(figures.late)}"


def lost_line(cluster: LostCluster) -> str:
    """One lost cluster: where it ran, how long ago it was lost, and its running tasks."""
    ran = ", ".join(f"{task.func} {task.name} [{task.id}]" for task in cluster.running) or "nothing"
    return (
        f"Lost: {cluster.name} ({cluster.host}:{cluster.pid}, queue {', '.join(cluster.queues)}), "
        f"{duration(cluster.age)} ago; it was running: {ran}"
    )
