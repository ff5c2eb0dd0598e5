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

from benchmarks.harness import Harness, install, set_up
from benchmarks.measure import Stat, in_sessions, machine, pss_of, title_of
from benchmarks.report import NOTHING, Grid, draw_markdown, draw_text, number
from benchmarks.run import PAGES, chosen, say
from benchmarks.scenarios import BOOT, amount
from benchmarks.servers import Servers
from benchmarks.systems.django_cluster import DjangoCluster
from benchmarks.task_path import Hop, Stamped, task_path
from benchmarks.timing import Step
from benchmarks.venvs import Venv

ROLES = ("pusher", "worker", "monitor", "scheduler", "sentinel")
SERVERS = "Redis and PostgreSQL"
PATIENCE = 300.0
REPETITIONS = 3


def main() -> None:
    parser = ArgumentParser(prog="python -m benchmarks.task_profile", description="Profile a task's life.")
    parser.add_argument("--systems", nargs="+", default=["django_cluster/*"])
    parser.add_argument("--seconds", type=float, default=3.0, help="how long the whole cluster works, roughly")
    parser.add_argument("--docs", action="store_true", help="write the tables into the documentation")
    options = parser.parse_args(sys.argv[1:])
    systems = [system for system in chosen(options.systems) if isinstance(system, DjangoCluster)]
    with Servers() as servers:
        for system in systems:
            Venv.of(system).ensure()
            install(system, servers)
        profiles = [profile_of(system, servers, options.seconds) for system in systems]
        when = ", ".join([f"Measured on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC", *machine().values()])
        versions = ", ".join(" ".join(pair) for pair in servers.versions().items())
    tables = grids(profiles)
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
class Profile:
    """All that was measured of one set-up."""

    name: str
    steps: Mapping[tuple[str, str], float]
    """By process and step, microseconds of CPU for each task."""
    shares: Mapping[str, Share]
    """By role."""
    way: Sequence[Hop]


def profile_of(system: DjangoCluster, servers: Servers, seconds: float) -> Profile:
    """Each step at its best of several: whatever disturbs it makes it slower, and nothing makes it faster."""
    steps: dict[tuple[str, str], float] = {}
    for _ in range(REPETITIONS):
        with set_up(system, servers) as harness:
            for step in (Step(*each) for each in harness.agent.ask("steps")):
                key = step.process, step.what
                steps[key] = min(step.cpu_us, steps.get(key, step.cpu_us))
    with set_up(system, servers) as harness:
        shares = whole_cluster(harness, amount(seconds, system.pace))
    with set_up(Stamped(system.broker), servers) as harness:
        way = task_path(harness)
    return Profile(system.name.partition("/")[2], steps, shares, way)


def whole_cluster(harness: Harness, count: int) -> dict[str, Share]:
    """By role, and for the servers, how a cluster at full speed spends its time."""
    harness.agent.ask("send_bulk", "noop", count)
    harness.processes.start()
    harness.wait_for_marks(1, BOOT)
    before, began, begun = cpu_by_role(harness), time.monotonic(), harness.marks.count
    harness.wait_for_marks(count // 2, PATIENCE)
    memory = by_role(harness, lambda process: pss_of(process.pid))
    elapsed = harness.agent.ask("wait_settled", count, PATIENCE) - began
    spent = {role: seconds - before.get(role, 0.0) for role, seconds in cpu_by_role(harness).items()}
    tasks = max(1, count - begun)
    return {
        role: Share(seconds / tasks * 1e6, seconds / elapsed, memory.get(role, 0.0)) for role, seconds in spent.items()
    }


def cpu_by_role(harness: Harness) -> dict[str, float]:
    """Seconds so far; the workers together."""
    return by_role(harness, lambda process: process.cpu) | {SERVERS: harness.servers.cpu_seconds()}


def by_role(harness: Harness, value_of: Callable[[Stat], float]) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for process in in_sessions(harness.processes.sessions):
        found[role_in(title_of(process.pid))] += value_of(process)
    return dict(found)


def role_in(title: str) -> str:
    """From a process title such as ``qcluster bench worker 1``."""
    words = title.split()
    return next((role for role in ROLES if role in words), "sentinel")


# ── tables ───────────────────────────────────────────────────────────────────────────────────────


def grids(profiles: Sequence[Profile]) -> list[Grid]:
    return [steps_grid(profiles), cpu_grid(profiles), memory_grid(profiles), way_grid(profiles)]


def steps_grid(profiles: Sequence[Profile]) -> Grid:
    keys = dict.fromkeys(key for profile in profiles for key in profile.steps)
    rows = [[*key, *(or_nothing(profile.steps.get(key)) for profile in profiles)] for key in keys]
    note = f"Microseconds of CPU for each task; at its best of {REPETITIONS}."
    return Grid("Each step alone", note, ["process", "step", *names(profiles)], rows, words=2)


def cpu_grid(profiles: Sequence[Profile]) -> Grid:
    roles = (*ROLES, SERVERS)
    rows = [[role, *(share_in(profile, role, lambda share: share.cpu_us) for profile in profiles)] for role in roles]
    rows.append(["together", *(number(sum(share.cpu_us for share in profile.shares.values())) for profile in profiles)])
    note = "Microseconds of CPU for each task that does nothing; the two workers together."
    return Grid("A whole cluster at full speed", note, ["process", *names(profiles)], rows)


def memory_grid(profiles: Sequence[Profile]) -> Grid:
    rows = [[role, *(share_in(profile, role, lambda share: share.pss) for profile in profiles)] for role in ROLES]
    return Grid("Its memory meanwhile", "Megabytes of PSS.", ["process", *names(profiles)], rows)


def way_grid(profiles: Sequence[Profile]) -> Grid:
    parts = dict.fromkeys(hop.what for profile in profiles for hop in profile.way)
    found = [{hop.what: hop for hop in profile.way} for profile in profiles]
    rows = [[part, *(hop_in(hops.get(part)) for hops in found)] for part in parts]
    note = "Microseconds on the clock, median (95 %). Nothing else is to be done, so each process has to be woken."
    return Grid("The way of a lone task", note, ["part of the way", *names(profiles)], rows)


def names(profiles: Sequence[Profile]) -> list[str]:
    return [profile.name for profile in profiles]


def share_in(profile: Profile, role: str, value_of: Callable[[Share], float]) -> str:
    return or_nothing(value_of(profile.shares[role]) if role in profile.shares else None)


def hop_in(hop: Hop | None) -> str:
    return NOTHING if hop is None else f"{number(hop.median)} ({number(hop.p95)})"


def or_nothing(value: float | None) -> str:
    return NOTHING if value is None else number(value)


if __name__ == "__main__":
    main()
