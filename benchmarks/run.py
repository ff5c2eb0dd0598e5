"""``make bench``: every system and every scenario in turn, again and again, and a report at the end.

Interleaved: a busy minute of the machine then hurts all systems a little, and none of them alone.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path

from benchmarks.charts import charts
from benchmarks.floors import measure_floors
from benchmarks.harness import install, set_up
from benchmarks.measure import fsync_ms, machine, noise
from benchmarks.report import as_markdown, as_text
from benchmarks.results import Results, Visit
from benchmarks.scenarios import QUICK, SCENARIOS, TINY, Sizes, can_play
from benchmarks.servers import Servers
from benchmarks.systems import SYSTEMS
from benchmarks.systems.base import System
from benchmarks.venvs import ROOT, Venv, cache_folder

PAGES = ROOT / "docs" / "explanation" / "performance"
"""Where the documentation finds tables and charts."""

SIZES = {"full": Sizes(), "quick": QUICK, "tiny": TINY}
MILLION = 1_000_000


def main() -> None:
    options = parse(sys.argv[1:])
    results = Results.load(options.report) if options.report else run(options)
    say(as_text(results))
    if options.docs:
        publish(results)


def parse(arguments: Sequence[str]) -> Namespace:
    parser = ArgumentParser(prog="python -m benchmarks.run", description="Measure django_cluster and its peers.")
    parser.add_argument("--systems", nargs="+", default=["*"], help="names or patterns, such as 'huey*' '*/orm-pg'")
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=[*SCENARIOS], help="what to measure")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--million", action="store_true", help="a million waiting tasks too")
    parser.add_argument("--no-floors", action="store_true", help="without the bare parts")
    parser.add_argument("--output", type=Path, default=cache_folder() / "results.json", help="the file of the run")
    parser.add_argument("--report", type=Path, help="measure nothing: show the report of this file")
    parser.add_argument("--docs", action="store_true", help="write tables and charts into the documentation")
    return parser.parse_args(arguments)


def chosen(patterns: Iterable[str]) -> list[System]:
    """In the order of the tables."""
    patterns = list(patterns)
    return [system for name, system in SYSTEMS.items() if any(fnmatch(name, pattern) for pattern in patterns)]


def run(options: Namespace) -> Results:
    systems = chosen(options.systems)
    for venv in {system.home: Venv.of(system) for system in systems}.values():
        say(f"environment {venv.folder.name} …")
        venv.ensure()
    with Servers() as servers:
        results = new_results(systems, servers)
        for system in systems:
            install(system, servers)
        for repetition in range(options.repetitions):
            if not options.no_floors:
                results.floors.append(measure_floors(servers, SIZES[options.size]))
            for visit in visits(systems, options, servers, repetition):
                results.visits.append(visit)
                results.save(options.output)
                say(summary(visit))
    say(f"Saved as {options.output}\n")
    return results


def new_results(systems: Sequence[System], servers: Servers) -> Results:
    own = {system.name.partition("/")[0]: Venv.of(system).version() for system in systems}
    return Results(
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        machine={**machine(), "fsync": f"fsync {fsync_ms():.2f} ms"},
        versions={**own, **servers.versions()},
        durability={system.name: (system.durability.crash, system.durability.kept) for system in systems},
    )


def visits(systems: Sequence[System], options: Namespace, servers: Servers, repetition: int) -> Iterable[Visit]:
    sizes: Sizes = SIZES[options.size]
    if options.million:
        sizes = sizes.with_waiting(MILLION)
    for scenario in options.scenarios:
        for system in (system for system in systems if can_play(system, scenario)):
            yield visit(system, scenario, sizes, servers, repetition)


def visit(system: System, scenario: str, sizes: Sizes, servers: Servers, repetition: int) -> Visit:
    """One measurement between two looks at the machine. What fails is a line in the report."""
    before = noise()
    numbers, error = {}, ""
    try:
        with set_up(system, servers) as harness:
            numbers = SCENARIOS[scenario](harness, sizes)
    except Exception as problem:  # noqa: BLE001  one system's failure must not cost the others their run
        error = f"{type(problem).__name__}: {problem}"
    return Visit(system.name, scenario, repetition, numbers, (before.loop_ms, noise().loop_ms), before.load, error)


def summary(visit: Visit) -> str:
    what = visit.error or ", ".join(f"{key} {value:,.4g}" for key, value in visit.numbers.items())
    return f"[{visit.repetition + 1}] {visit.system} {visit.scenario}: {what}"


def publish(results: Results) -> None:
    """The numbers of the documentation."""
    results.save(PAGES / "results.json")
    drawn = charts(results)
    for key, svg in drawn.items():
        (PAGES / f"{key}.svg").write_text(svg)
    # Not ".md": it is a part of a page and not a page.
    (PAGES / "tables.txt").write_text(as_markdown(results, list(drawn)))


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
