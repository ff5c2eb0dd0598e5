"""The names of all numbers, what they mean, and in which tables they stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a system."""

    key: str
    title: str
    more_is_better: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers that are looked at together."""

    key: str
    title: str
    note: str
    metrics: Sequence[Metric]
    chart: str = ""
    """The key of the metric that is drawn."""


WAITING = (100, 1_000, 10_000, 100_000, 1_000_000)

TABLES = (
    Table(
        "throughput",
        "Throughput of tasks that do nothing",
        "Drained: from the first to the last task's own mark. Settled: until every result is stored and every message"
        " acknowledged. CPU: of the system's own processes; of Redis and PostgreSQL apart.",
        (
            Metric("enqueue", "enqueue/s", more_is_better=True),
            Metric("bulk", "bulk enqueue/s", more_is_better=True),
            Metric("drain", "drained/s", more_is_better=True),
            Metric("settled", "settled/s", more_is_better=True),
            Metric("cpu", "CPU s/1k"),
            Metric("servers_cpu", "servers' CPU s/1k"),
        ),
        chart="settled",
    ),
    Table(
        "latency",
        "Latency of a lone task on an idle system",
        "Milliseconds from the call to the start of the task. First task: seconds from the start of the program.",
        (
            Metric("latency_50", "p50 ms"),
            Metric("latency_95", "p95 ms"),
            Metric("latency_99", "p99 ms"),
            Metric("ready", "first task s"),
        ),
        chart="latency_50",
    ),
    Table(
        "memory",
        "Memory, and the cost of doing nothing",
        "PSS of all processes of the system. Asked: messages to Redis and transactions of PostgreSQL.",
        (
            Metric("idle_pss", "idle PSS MB"),
            Metric("load_pss", "PSS MB under load"),
            Metric("idle_cpu", "idle CPU %"),
            Metric("idle_servers_cpu", "servers' idle CPU %"),
            Metric("idle_questions", "idle asked/s"),
        ),
        chart="idle_pss",
    ),
    Table(
        "work",
        "Heavier tasks",
        "Settled per second, and CPU. Work: 1 ms of Python and one read by the ORM. Payload: an argument of 100 KB.",
        (
            Metric("work", "work/s", more_is_better=True),
            Metric("work_cpu", "work CPU s/1k"),
            Metric("payload", "payload/s", more_is_better=True),
            Metric("payload_cpu", "payload CPU s/1k"),
            Metric("schedules", "schedules/s", more_is_better=True),
            Metric("schedules_cpu", "schedules CPU s/1k"),
        ),
        chart="work",
    ),
    Table(
        "waiting",
        "A long queue",
        "Tasks run per second, with so many waiting behind them.",
        tuple(Metric(f"waiting_{count}", f"{count:,} waiting", more_is_better=True) for count in WAITING),
    ),
    Table(
        "waiting_cpu",
        "A long queue: CPU",
        "Seconds of CPU per 1,000 tasks, servers included, with so many waiting behind them.",
        tuple(Metric(f"waiting_cpu_{count}", f"{count:,} waiting") for count in WAITING),
    ),
)

METRICS = {metric.key: metric for table in TABLES for metric in table.metrics}
