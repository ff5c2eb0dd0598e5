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

from benchmarks.measure import Stat, in_sessions, pss_of, title_of
from benchmarks.report import Grid, draw_text, number
from benchmarks.run import chosen, say
from benchmarks.scenarios import BOOT, amount
from benchmarks.servers import Servers
from benchmarks.stage import Stage, install, set_up
from benchmarks.systems.base import System
from benchmarks.systems.django_cluster import DjangoCluster
from benchmarks.timing import Step
from benchmarks.venvs import Venv
from benchmarks.way import Hop, Stamped, lone_way

ROLES = ("pusher", "worker", "monitor", "scheduler", "sentinel")
PATIENCE = 300.0


def main() -> None:
    parser = ArgumentParser(prog="python -m benchmarks.life", description="Profile a task's life.")
    parser.add_argument("--systems", nargs="+", default=["django_cluster/*"])
    parser.add_argument("--seconds", type=float, default=3.0, help="how long the whole cluster works, roughly")
    options = parser.parse_args(sys.argv[1:])
    systems = chosen(options.systems)
    with Servers() as servers:
        for system in systems:
            Venv.of(system).ensure()
            install(system, servers)
            with set_up(system, servers) as stage:
                steps = [Step(*each) for each in stage.agent.ask("steps")]
            with set_up(system, servers) as stage:
                shares = whole_cluster(stage, amount(options.seconds, system.pace))
            say(draw_text(steps_grid(system, steps)) + "\n")
            say(draw_text(shares_grid(system, shares)) + "\n")
            if isinstance(system, DjangoCluster):
                with set_up(Stamped(system.broker), servers) as stage:
                    say(draw_text(way_grid(system, lone_way(stage))) + "\n")


@dataclass(frozen=True, slots=True)
class Share:
    """What the processes of a role, together, took of a run."""

    cpu_us: float
    """For each task."""
    at_work: float
    """CPU as a part of the time that all took; 1.0 = one processor, all the time."""
    pss: float
    """Megabytes in the middle of the run."""


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
    return by_role(stage, lambda process: process.cpu) | {"Redis and PostgreSQL": stage.servers.cpu_seconds()}


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


def steps_grid(system: System, steps: Sequence[Step]) -> Grid:
    rows = [[step.process, step.what, number(step.wall_us), number(step.cpu_us)] for step in steps]
    return Grid(f"{system.name}: each step alone", "Microseconds for each task.", HEAD, rows, words=2)


HEAD = ("process", "step", "µs", "of it CPU")


def shares_grid(system: System, shares: Mapping[str, Share]) -> Grid:
    rows = [[role, number(share.cpu_us), f"{share.at_work:.0%}", number(share.pss)] for role, share in shares.items()]
    rows.append(["together", number(sum(share.cpu_us for share in shares.values())), "", ""])
    note = "Microseconds of CPU for each task, the part of the time that the processes were at work, and their memory."
    return Grid(f"{system.name}: a whole cluster", note, ("process", "CPU µs", "at work", "PSS MB"), rows)


def way_grid(system: System, hops: Sequence[Hop]) -> Grid:
    rows = [[hop.what, number(hop.median), number(hop.p95)] for hop in hops]
    note = "Microseconds; nothing else is to be done, so each process has to be woken."
    return Grid(f"{system.name}: the way of a lone task", note, ("part of the way", "median", "95 %"), rows)


if __name__ == "__main__":
    main()
