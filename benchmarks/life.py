"""``make profile``: where the microseconds of a task's life go.

First each step alone (``steps``), then the processes of a whole cluster at full speed, as /proc sees them.
"""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Mapping, Sequence

from benchmarks.measure import in_sessions, title_of
from benchmarks.report import Grid, draw_text, number
from benchmarks.run import chosen, say
from benchmarks.scenarios import BOOT, amount
from benchmarks.servers import Servers
from benchmarks.stage import Stage, install, set_up
from benchmarks.systems.base import System
from benchmarks.timing import Step
from benchmarks.venvs import Venv

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


def whole_cluster(stage: Stage, count: int) -> dict[str, tuple[float, float]]:
    """By role: microseconds of CPU for each task, and its share of the time that all took."""
    stage.agent.ask("send_bulk", "noop", count)
    stage.crew.start()
    stage.wait_for_marks(1, BOOT)
    before, servers_before, began, done = cpu_by_role(stage), stage.servers.cpu_seconds(), time.monotonic(), 0
    done = stage.marks.count
    stage.wait_for_marks(count, PATIENCE)
    settled = stage.agent.ask("wait_settled", count, PATIENCE)
    spent = {role: seconds - before.get(role, 0.0) for role, seconds in cpu_by_role(stage).items()}
    spent["Redis and PostgreSQL"] = stage.servers.cpu_seconds() - servers_before
    elapsed, tasks = settled - began, count - done
    shares = {role: (seconds / tasks * 1e6, seconds / elapsed) for role, seconds in spent.items()}
    return shares | {"the clock": (elapsed / tasks * 1e6, 1.0)}


def cpu_by_role(stage: Stage) -> dict[str, float]:
    """Seconds so far; the workers together."""
    found: dict[str, float] = defaultdict(float)
    for process in in_sessions(stage.crew.sessions):
        found[role_in(title_of(process.pid))] += process.cpu
    return dict(found)


def role_in(title: str) -> str:
    """From a process title such as ``qcluster bench worker 1``."""
    words = title.split()
    return next((role for role in ROLES if role in words), "sentinel")


# ── tables ───────────────────────────────────────────────────────────────────────────────────────


def steps_grid(system: System, steps: Sequence[Step]) -> Grid:
    rows = [[step.process, step.what, number(step.wall_us), number(step.cpu_us)] for step in steps]
    return Grid(f"{system.name}: each step alone", "Microseconds for each task.", HEAD, rows)


HEAD = ("process", "step", "µs", "of it CPU")


def shares_grid(system: System, shares: Mapping[str, tuple[float, float]]) -> Grid:
    rows = [[role, number(cost), f"{share:.0%}"] for role, (cost, share) in shares.items()]
    note = "Microseconds of CPU for each task, and the part of the time that the process was at work."
    return Grid(f"{system.name}: the processes of a whole cluster", note, ("process", "CPU µs", "at work"), rows)


if __name__ == "__main__":
    main()
