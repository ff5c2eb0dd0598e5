"""Every key of ``Q_CLUSTER``, once: parsing, the reference and ``qinfo --config`` all grow from this table."""

from __future__ import annotations

from collections.abc import Sequence

from django_cluster.core.option_table.broker import BROKER
from django_cluster.core.option_table.cluster import CLUSTER
from django_cluster.core.option_table.crew import CREW
from django_cluster.core.option_table.tasks import DELIVERY, RESULTS, SCHEDULE, SIGNING
from django_cluster.core.options import Option
from django_cluster.core.settings import Settings

__all__ = ["BROKER", "BY_KEY", "CLUSTER", "CREW", "DELIVERY", "OPTIONS", "RESULTS", "SCHEDULE", "SIGNING", "describe"]

OPTIONS: tuple[Option, ...] = (*CLUSTER, *BROKER, *SIGNING, *DELIVERY, *RESULTS, *SCHEDULE, *CREW)

BY_KEY = {name: each for each in OPTIONS for name in (each.key, *each.aliases)}
"""Every name that may stand in ``Q_CLUSTER``."""


def describe(settings: Settings) -> Sequence[tuple[Option, object]]:
    """Each option and what holds for it; safe to print. The broker stands under ``broker``, as kind and options."""
    rows: list[tuple[Option, object]] = []
    for each in OPTIONS:
        if each.key == "broker":
            broker = settings.broker
            rows.append((each, {broker.class_path or broker.kind: broker.options}))
        elif each.field:
            rows.append((each, each.value_in(settings)))
    return rows
