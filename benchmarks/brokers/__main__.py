"""``make bench-brokers``: every broker by turns, again and again, each beside the floor of its server.

All servers run from the beginning to the end, so that a busy minute of the machine hurts all brokers a little.
"""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import django

from benchmarks.brokers.rates import SCENARIO, SIZES, Workload, measure
from benchmarks.brokers.tables import CHART, as_markdown, as_text, chart
from benchmarks.measure import fsync_ms, machine, noise
from benchmarks.results import Results, Visit
from benchmarks.run import PAGES, say
from benchmarks.systems.base import RUN_AGAIN
from benchmarks.venvs import cache_folder

if TYPE_CHECKING:
    from benchmarks.brokers.places import Ground, Place

SECRET = "not a secret: these messages live for the length of a benchmark"  # noqa: S105


def main() -> None:
    options = parse(sys.argv[1:])
    set_up_django()
    from benchmarks.brokers.places import PLACES

    does = {name: place.does for name, place in PLACES.items()}
    results = Results.load(options.report) if options.report else run(options, chosen(options.brokers, PLACES))
    say(as_text(results, does))
    if options.docs:
        results.save(PAGES / "brokers.json")
        (PAGES / f"{CHART}.svg").write_text(chart(results) or "")
        # Not ".md": it is a part of a page and not a page.
        (PAGES / "brokers.txt").write_text(as_markdown(results, does))
    if results.failures():
        sys.exit(1)


def parse(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="python -m benchmarks.brokers", description="Measure each broker beside its floor.")
    parser.add_argument("--brokers", nargs="+", default=["*"], help="names or patterns, such as SQLite 'Redis*'")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--output", type=Path, default=cache_folder() / "brokers.json", help="the file of the run")
    parser.add_argument("--report", type=Path, help="measure nothing: show the report of this file")
    parser.add_argument("--docs", action="store_true", help="write tables and chart into the documentation")
    return parser.parse_args(arguments)


def set_up_django() -> None:
    """A project whose databases come later."""
    nowhere = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    os.environ["BENCH_DJANGO"] = json.dumps({"database": nowhere, "apps": ["django_cluster"], "settings": {}})
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.django_settings"
    django.setup()


def chosen(patterns: Sequence[str], places: Mapping[str, Place]) -> dict[str, Place]:
    """In the order of the tables. Those whose server this machine lacks are passed over, aloud."""
    found = {}
    for name, place in places.items():
        if not any(fnmatch(name, pattern) for pattern in patterns):
            continue
        if missing := place.missing():
            say(f"{name} is passed over: {', '.join(missing)} missing.")
        else:
            found[name] = place
    return found


def run(options: Namespace, places: Mapping[str, Place]) -> Results:
    load = SIZES[options.size]
    payloads = signed_payloads(load.singly + load.bulk)
    with ExitStack() as stack:
        grounds = {}
        for name, place in places.items():
            say(f"server of {name} …")
            grounds[name] = stack.enter_context(place.open())
        results = new_results(places, grounds)
        for repetition in range(options.repetitions):
            for name, ground in grounds.items():
                results.visits.append(visit(name, ground, load, payloads, repetition))
                results.save(options.output)
                say(summary(results.visits[-1]))
    say(f"Saved as {options.output}\n")
    return results


def signed_payloads(count: int) -> list[str]:
    """Packages of a task that does nothing, as every sender signs them."""
    from django_cluster.core.codec import Codec
    from django_cluster.core.messages import DEFAULT_OPTIONS
    from django_cluster.core.packages import build_packages
    from django_cluster.core.settings import SigningSettings

    codec = Codec(SigningSettings(secret=SECRET, salt="bench"))
    return [codec.dumps(each) for each in build_packages("benchmarks.tasks.noop", [()] * count, {}, DEFAULT_OPTIONS)]


def new_results(places: Mapping[str, Place], grounds: Mapping[str, Ground]) -> Results:
    clients = sorted({place.client for place in places.values()} - {""})
    return Results(
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        machine={**machine(), "fsync": f"fsync {fsync_ms():.2f} ms"},
        versions={
            "django_cluster": version("django-cluster"),
            **{name: ground.version for name, ground in grounds.items()},
            **{client: version(client) for client in clients},
        },
        durability={name: (RUN_AGAIN, place.kept) for name, place in places.items()},
    )


def visit(name: str, ground: Ground, load: Workload, payloads: Sequence[str], repetition: int) -> Visit:
    """One broker, once, between two looks at the machine. What fails is a line in the report."""
    before = noise()
    numbers: dict[str, float] = {}
    error = ""
    try:
        with ExitStack() as stack:
            sides = []
            for open_side in (ground.ours, ground.floor):
                sides.append(open_side())
                stack.callback(sides[-1].close)
            numbers = measure(sides[0], sides[1], load, payloads)
    except Exception as problem:  # noqa: BLE001  one broker's failure must not cost the others their run
        error = f"{type(problem).__name__}: {problem}"
    return Visit(name, SCENARIO, repetition, numbers, (before.loop_ms, noise().loop_ms), before.load, error)


def summary(visit: Visit) -> str:
    what = visit.error or ", ".join(f"{key} {value:,.4g}" for key, value in visit.numbers.items())
    return f"[{visit.repetition + 1}] {visit.system}: {what}"


if __name__ == "__main__":
    main()
