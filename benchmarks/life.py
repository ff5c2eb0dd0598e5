"""``make profile``: where the microseconds of a task's life go.

First each step alone (``steps``), then the processes of a whole cluster at full speed, as /proc sees them, and at last
the way of a lone task through an idle cluster (``way``).
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.measure import Stat, in_sessions, machine, pss_of, title_of
from benchmarks.report import NOTHING, Grid, draw_markdown, draw_text, number
from benchmarks.run import PAGES, chosen, say
from benchmarks.scenarios import BOOT, amount
from benchmarks.servers import Servers
from benchmarks.stage import Stage, install, set_up
from benchmarks.systems.django_cluster import DjangoCluster
from benchmarks.timing import Step
from benchmarks.venvs import Venv
from benchmarks.way import Hop, Stamped, lone_way

ROLES = ("pusher", "worker", "monitor", "scheduler", "sentinel")
SERVERS = "Redis and PostgreSQL"
PATIENCE = 300.0
REPETITIONS = 3


def main() -> None:
    parser = ArgumentParser(prog="python -m benchmarks.life", description="Profile a task's life.")
    parser.add_argument("--systems", nargs="+", default=["django_cluster/*"])
    parser.add_argument("--seconds", type=float, default=3.0, help="how long the whole cluster works, roughly")
    parser.add_argument("--docs", action="store_true", help="write the tables into the documentation")
    options = parser.parse_args(sys.argv[1:])
    systems = [system for system in chosen(options.systems) if isinstance(system, DjangoCluster)]
    with Servers() as servers:
        for system in systems:
            Venv.of(system).ensure()
            install(system, servers)
        lives = [life_of(system, servers, options.seconds) for system in systems]
        when = ", ".join([f"Measured on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC", *machine().values()])
        versions = ", ".join(" ".join(pair) for pair in servers.versions().items())
    tables = grids(lives)
    say("\n\n".join([f"{when}; {versions}.", *map(draw_text, tables)]))
    if options.docs:
        parts = [part for grid in tables for part in (f"### {grid.title}", grid.note, draw_markdown(grid))]
        (PAGES / "profile.txt").write_text("\n\n".join([f"{when}; {versions}.", *parts]) + "\n")


@dataclass(frozen=True, slots=True)
class Share:
    """What the processes of a role, together, took of a run."""

    cpu_us: float
    """For each task."""
    at_work: float
    """CPU as a part of the time that all took; 1.0 = one processor, all the time."""
    pss: float
    """Megabytes in the middle of the run."""


@dataclass(frozen=True, slots=True)
class Life:
    """All that was measured of one set-up."""

    name: str
    steps: Mapping[tuple[str, str], float]
    """By process and step, microseconds of CPU for each task."""
    shares: Mapping[str, Share]
    """By role."""
    way: Sequence[Hop]


def life_of(system: DjangoCluster, servers: Servers, seconds: float) -> Life:
    """Each step at its best of several: whatever disturbs it makes it slower, and nothing makes it faster."""
    steps: dict[tuple[str, str], float] = {}
    for _ in range(REPETITIONS):
        with set_up(system, servers) as stage:
            for step in (Step(*each) for each in stage.agent.ask("steps")):
                key = step.process, step.what
                steps[key] = min(step.cpu_us, steps.get(key, step.cpu_us))
    with set_up(system, servers) as stage:
        shares = whole_cluster(stage, amount(seconds, system.pace))
    with set_up(Stamped(system.broker), servers) as stage:
        way = lone_way(stage)
    return Life(system.name.partition("/")[2], steps, shares, way)


def whole_cluster(stage: Stage, count: int) -> dict[str, Share]:
    """By role, and for the servers, how a cluster at full speed spends its time."""
    stage.agent.ask("send_bulk", "noop", count)
    stage.crew.start()
    stage.wait_for_marks(1, BOOT)
    before, began, begun = cpu_by_role(stage), time.monotonic(), stage.marks.count
    stage.wait_for_marks(count // 2, PATIENCE)
    memory = by_role(stage, lambda process: pss_of(process.pid))
    elapsed = stage.agent.ask("wait_settled", count, PATIENCE) - began
    spent = {role: seconds - before.get(role, 0.0) for role, seconds in cpu_by_role(stage).items()}
    tasks = max(1, count - begun)
    return {
        role: Share(seconds / tasks * 1e6, seconds / elapsed, memory.get(role, 0.0)) for role, seconds in spent.items()
    }


def cpu_by_role(stage: Stage) -> dict[str, float]:
    """Seconds so far; the workers together."""
    return by_role(stage, lambda process: process.cpu) | {SERVERS: stage.servers.cpu_seconds()}


def by_role(stage: Stage, value_of: Callable[[Stat], float]) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for process in in_sessions(stage.crew.sessions):
        found[role_in(title_of(process.pid))] += value_of(process)
    return dict(found)


def role_in(title: str) -> str:
    """From a process title such as ``qcluster bench worker 1``."""
    words = title.split()
    return next((role for role in ROLES if role in words), "sentinel")


# ── tables ───────────────────────────────────────────────────────────────────────────────────────


def grids(lives: Sequence[Life]) -> list[Grid]:
    return [steps_grid(lives), cpu_grid(lives), memory_grid(lives), way_grid(lives)]


def steps_grid(lives: Sequence[Life]) -> Grid:
    keys = dict.fromkeys(key for life in lives for key in life.steps)
    rows = [[*key, *(or_nothing(life.steps.get(key)) for life in lives)] for key in keys]
    note = f"Microseconds of CPU for each task; at its best of {REPETITIONS}."
    return Grid("Each step alone", note, ["process", "step", *names(lives)], rows, words=2)


def cpu_grid(lives: Sequence[Life]) -> Grid:
    roles = (*ROLES, SERVERS)
    rows = [[role, *(share_in(life, role, lambda share: share.cpu_us) for life in lives)] for role in roles]
    rows.append(["together", *(number(sum(share.cpu_us for share in life.shares.values())) for life in lives)])
    note = "Microseconds of CPU for each task that does nothing; the two workers together."
    return Grid("A whole cluster at full speed", note, ["process", *names(lives)], rows)


def memory_grid(lives: Sequence[Life]) -> Grid:
    rows = [[role, *(share_in(life, role, lambda share: share.pss) for life in lives)] for role in ROLES]
    return Grid("Its memory meanwhile", "Megabytes of PSS.", ["process", *names(lives)], rows)


def way_grid(lives: Sequence[Life]) -> Grid:
    parts = dict.fromkeys(hop.what for life in lives for hop in life.way)
    found = [{hop.what: hop for hop in life.way} for life in lives]
    rows = [[part, *(hop_in(hops.get(part)) for hops in found)] for part in parts]
    note = "Microseconds on the clock, median (95 %). Nothing else is to be done, so each process has to be woken."
    return Grid("The way of a lone task", note, ["part of the way", *names(lives)], rows)


def names(lives: Sequence[Life]) -> list[str]:
    return [life.name for life in lives]


def share_in(life: Life, role: str, value_of: Callable[[Share], float]) -> str:
    return or_nothing(value_of(life.shares[role]) if role in life.shares else None)


def hop_in(hop: Hop | None) -> str:
    return NOTHING if hop is None else f"{number(hop.median)} ({number(hop.p95)})"


def or_nothing(value: float | None) -> str:
    return NOTHING if value is None else number(value)


if __name__ == "__main__":
    main()
