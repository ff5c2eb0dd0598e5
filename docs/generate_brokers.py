"""Writes the reference page of brokers from the ``Capabilities`` of the adapters.

Run ``python -m docs.generate_brokers`` from the root of the repository after changing them; a unit test fails while
the page is behind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import django

from django_cluster.brokers import ADAPTERS, EXTRAS, broker_class
from django_cluster.brokers.capabilities import Capabilities
from docs.generate_settings import REFERENCE, row, table

PAGE = REFERENCE / "brokers.md"

NOTICE = "<!-- Written by docs/generate_brokers.py. Change the Capabilities of an adapter, and run it again. -->"

HEAD = """\
# Brokers: what each can do

Every broker delivers [at least once](../explanation/delivery.md), and passes the tests of
`django_cluster.testing.contracts.BrokerContract`. They differ in what their servers can do. What a server cannot do is
emulated, or refused when a task is sent; it is never ignored.
"""

LAST = """\
## What follows from a *no*

| | what django_cluster does |
|---|---|
| priorities | a task with a priority is refused with `NotSupported` when it is sent; a schedule says so in its row |
| delays, when they are longer than the limit | the task waits in the database (queue `delayed:…`) until it is due |
| a larger payload | refused with `PayloadTooLarge`, or kept in the database (`offload_large_payloads`) |
| messages that are kept forever | the server deletes messages that wait longer |
| showing, cancelling | the admin shows numbers only; `qmove` moves delayed messages when they have become ready |
| waking an idle cluster | the cluster asks every `poll` seconds |
| sending a batch atomically | an error in the middle of `async_bulk` says how many tasks were sent |
| exact sizes | numbers are estimates of the server |
| receipts that work in every process | running tasks are claimed again, see [RabbitMQ](../how-to/rabbitmq.md) |
| refunding attempts without a copy | after a stop or `Snooze` the message is sent again with its count |

Your own broker declares its `Capabilities` in the same way: see [Write a broker](../how-to/write-a-broker.md).
"""

Cell = Callable[[Capabilities], str]


def yes(answer: bool) -> str:
    return "yes" if answer else "**no**"


def delays(able: Capabilities) -> str:
    longest = able.longest_delay
    if longest == 0:
        return "**no**"
    if longest == float("inf"):
        return "any"
    return f"up to {longest / 86_400:g} days" if longest >= 86_400 else f"up to {longest / 60:g} minutes"


def payload(able: Capabilities) -> str:
    return "any" if able.max_payload is None else f"{able.max_payload:,} bytes"


ROWS: Sequence[tuple[str, Cell]] = (
    ("messages in one call", lambda able: f"{able.bulk:,}"),
    ("priorities", lambda able: yes(able.priority)),
    ("delays", delays),
    ("largest payload, packed", payload),
    (
        "deletes waiting messages",
        lambda able: "never" if able.max_age is None else f"after {able.max_age / 86_400:g} days",
    ),
    ("wakes an idle cluster", lambda able: yes(able.blocking)),
    ("keeps the order (FIFO)", lambda able: yes(able.fifo)),
    ("released messages go first", lambda able: yes(able.requeues_first)),
    ("sends a batch atomically", lambda able: yes(able.atomic)),
    ("counts attempts", lambda able: yes(able.counts_attempts)),
    ("refunds attempts without a copy", lambda able: yes(able.refunds_attempts)),
    ("exact sizes", lambda able: yes(able.exact_size)),
    ("shows waiting messages", lambda able: yes(able.peek)),
    ("cancels waiting messages", lambda able: yes(able.cancel)),
    ("ended leases do nothing (fencing)", lambda able: yes(able.fenced_receipts)),
    ("receipts work in every process", lambda able: yes(able.portable_receipts)),
)

DEPENDS = {
    ("sqs", "deletes waiting messages"): "after 4 days, or up to 14 (`MessageRetentionPeriod`)",
    ("orm", "wakes an idle cluster"): "PostgreSQL, SQLite",
}
"""Where it depends on the server, and a class cannot say it."""


def page() -> str:
    """The whole page."""
    kinds = sorted(ADAPTERS, key=lambda kind: (kind == "memory", kind != "orm", kind))
    able = {kind: broker_class(kind).capabilities for kind in kinds}
    rows = [row(name, *(DEPENDS.get((kind, name), cell(able[kind])) for kind in kinds)) for name, cell in ROWS]
    extras = row("pip install", *(_extra(kind) for kind in kinds))
    matrix = table(("", *(f"`{kind}`" for kind in kinds)), [extras, *rows])
    return "\n".join([HEAD, NOTICE, "", *matrix, "", "`memory` lives in one process: for tests.", "", LAST])


def _extra(kind: str) -> str:
    module = ADAPTERS[kind].rpartition(".")[0].rpartition(".")[2]
    return f"`django-cluster[{module}]`" if module in {*EXTRAS.values(), "disque"} else "–"


def write() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.django_settings")
    django.setup()
    write()
