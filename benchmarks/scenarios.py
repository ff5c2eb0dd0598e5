"""What is measured: each scenario plays on a fresh harness, and returns numbers by the names of ``metrics``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from benchmarks.harness import Harness
from benchmarks.servers import STATISTICS_DELAY
from benchmarks.systems.base import System

Numbers = dict[str, float]

BOOT = 60.0
"""Seconds within which a system's first task has to begin."""
SLOWEST = 12.0
"""How many times longer than expected a measurement may take."""
LEAST = 40


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything. Tasks are counted in seconds at a system's own pace."""

    seconds: float = 4.0
    heavy_seconds: float = 2.0
    idle_seconds: float = 10.0
    latencies: int = 120
    waiting: tuple[int, ...] = (1_000, 10_000, 100_000)
    schedules: int = 10_000

    def with_waiting(self, count: int) -> Sizes:
        return replace(self, waiting=(*self.waiting, count))


QUICK = Sizes(seconds=1.0, heavy_seconds=0.5, idle_seconds=3.0, latencies=40, waiting=(1_000, 10_000), schedules=1_000)
TINY = Sizes(seconds=0.05, heavy_seconds=0.02, idle_seconds=1.0, latencies=5, waiting=(100,), schedules=20)


def amount(seconds: float, pace: int) -> int:
    """How many tasks keep a system of this pace busy for so long; a round number."""
    wanted = max(LEAST, round(seconds * pace))
    digits: int = 10 ** max(0, len(str(wanted)) - 2)
    return wanted // digits * digits


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


# ── scenarios ────────────────────────────────────────────────────────────────────────────────────


def throughput(harness: Harness, sizes: Sizes) -> Numbers:
    """Tasks that do nothing: sent one by one and in bulk, then worked off."""
    count = amount(sizes.seconds, harness.system.pace)
    singly = count // 4 if harness.system.has_bulk else count
    numbers = {"enqueue": singly / harness.agent.ask("send", "noop", singly)}
    if harness.system.has_bulk:
        numbers["bulk"] = (count - singly) / harness.agent.ask("send_bulk", "noop", count - singly)
    return numbers | work_off(harness, count)


def payload(harness: Harness, sizes: Sizes) -> Numbers:
    """The same with an argument of 100 KB."""
    count = amount(sizes.heavy_seconds, min(harness.system.pace, 2_000))
    harness.agent.ask("send", "weigh", count)
    found = work_off(harness, count)
    return {"payload": found["settled"], "payload_cpu": found["cpu"]}


def awaiting(harness: Harness, sizes: Sizes) -> Numbers:
    """Tasks that await for 5 ms."""
    count = amount(sizes.seconds, min(harness.system.pace, 4_000))
    harness.agent.ask("send_bulk", "pause", count)
    found = work_off(harness, count)
    return {"awaiting": found["settled"], "awaiting_cpu": found["cpu"], "awaiting_pss": found["load_pss"]}


def work(harness: Harness, sizes: Sizes) -> Numbers:
    """Tasks of 1 ms of Python and one read by the ORM."""
    count = amount(sizes.heavy_seconds, min(harness.system.pace, 1_000))
    harness.agent.ask("send_bulk", "work", count)
    found = work_off(harness, count)
    return {"work": found["settled"], "work_cpu": found["cpu"]}


def rest(harness: Harness, sizes: Sizes) -> Numbers:
    """Nothing to do; and then one task at a time."""
    harness.processes.start()
    began = time.monotonic()
    harness.agent.ask("send", "noop", LEAST)
    harness.wait_for_marks(LEAST, BOOT)
    ready = harness.marks.moments()[0] - began
    harness.agent.ask("wait_settled", LEAST, BOOT)
    time.sleep(STATISTICS_DELAY)
    numbers = idle(harness, sizes.idle_seconds)
    latencies = harness.agent.ask("latencies", sizes.latencies)
    shares = {f"latency_{percent}": percentile(latencies, percent) * 1000 for percent in (50, 95, 99)}
    return numbers | shares | {"ready": ready}


def idle(harness: Harness, seconds: float) -> Numbers:
    asked, cpu, servers_cpu = (
        harness.servers.questions(harness.entry),
        harness.processes.cpu_seconds(),
        servers_cpu_of(harness),
    )
    began = time.monotonic()
    time.sleep(seconds)
    elapsed = time.monotonic() - began
    return {
        "idle_cpu": (harness.processes.cpu_seconds() - cpu) / elapsed * 100,
        "idle_servers_cpu": (servers_cpu_of(harness) - servers_cpu) / elapsed * 100,
        # Less the question itself.
        "idle_questions": max(0, harness.servers.questions(harness.entry) - asked - 1) / elapsed,
        "idle_pss": harness.processes.pss_megabytes(),
    }


def waiting(harness: Harness, sizes: Sizes) -> Numbers:
    """Whether a task costs more when many wait: the same number is run with ever more behind it."""
    sample = amount(sizes.seconds / 2, harness.system.pace)
    numbers: Numbers = {}
    sent = 0
    for behind in sizes.waiting:
        if behind > harness.system.pace * 200:
            break  # to send them would take minutes
        wanted = behind + sample - (sent - harness.marks.count)
        harness.agent.ask("send_bulk", "noop", wanted)
        sent += wanted
        harness.servers.tidy(harness.entry)
        numbers |= {f"{name}_{behind}": value for name, value in run_some(harness, sample).items()}
    return numbers


def run_some(harness: Harness, sample: int) -> Numbers:
    """Work off so many of those that wait, and end abruptly; what was begun then comes back or is lost."""
    before = harness.marks.count
    harness.processes.start()
    harness.wait_for_marks(before + 1, BOOT)
    cpu, begun = harness.processes.cpu_seconds() + servers_cpu_of(harness), harness.marks.count
    harness.wait_for_marks(before + sample, BOOT + SLOWEST * sample / harness.system.pace)
    spent = harness.processes.cpu_seconds() + servers_cpu_of(harness) - cpu
    done = max(1, harness.marks.count - begun)
    harness.processes.kill()
    moments = harness.marks.moments()[before : before + sample]
    return {"waiting": (sample - 1) / (moments[-1] - moments[0]), "waiting_cpu": spent / done * 1000}


def schedules(harness: Harness, sizes: Sizes) -> Numbers:
    """Many schedules that are all due at once."""
    harness.agent.ask("schedule", sizes.schedules)
    found = work_off(harness, sizes.schedules)
    return {"schedules": found["settled"], "schedules_cpu": found["cpu"]}


SCENARIOS: Mapping[str, Callable[[Harness, Sizes], Numbers]] = {
    "throughput": throughput,
    "rest": rest,
    "work": work,
    "payload": payload,
    "awaiting": awaiting,
    "waiting": waiting,
    "schedules": schedules,
}


def can_play(system: System, scenario: str) -> bool:
    if scenario == "awaiting":
        return system.has_async
    return system.has_schedules or scenario != "schedules"


# ── parts of them ────────────────────────────────────────────────────────────────────────────────


def work_off(harness: Harness, count: int) -> Numbers:
    """Start the workers on what waits, until all is settled. The clock and the CPU count from the first task."""
    patience = BOOT + SLOWEST * count / min(harness.system.pace, 500)
    harness.processes.start()
    harness.wait_for_marks(1, BOOT)
    cpu, servers_cpu, begun = harness.processes.cpu_seconds(), servers_cpu_of(harness), harness.marks.count
    harness.wait_for_marks(max(begun, count // 2), patience)
    memory = harness.processes.pss_megabytes()
    harness.wait_for_marks(count, patience)
    settled_at = harness.agent.ask("wait_settled", count, patience)
    moments = harness.marks.moments()
    done = max(1, count - begun)
    numbers = {
        "drain": (count - 1) / (moments[count - 1] - moments[0]),
        "settled": count / (settled_at - moments[0]),
        "cpu": (harness.processes.cpu_seconds() - cpu) / done * 1000,
        "servers_cpu": (servers_cpu_of(harness) - servers_cpu) / done * 1000,
        "load_pss": memory,
    }
    harness.processes.stop()
    return numbers


def servers_cpu_of(harness: Harness) -> float:
    return harness.servers.cpu_seconds()
