"""Every key of ``Q_CLUSTER``, once: parsing, the reference and ``qinfo --config`` all grow from this table."""

from __future__ import annotations

from collections.abc import Sequence

from django_cluster.core.settings import Settings
from django_cluster.core.settings.definition import SettingDefinition
from django_cluster.core.settings.table.broker import BROKER
from django_cluster.core.settings.table.cluster import CLUSTER
from django_cluster.core.settings.table.processes import PROCESSES
from django_cluster.core.settings.table.tasks import DELIVERY, RESULTS, SCHEDULE, SIGNING

__all__ = [
    "BROKER",
    "BY_KEY",
    "CLUSTER",
    "DELIVERY",
    "OPTIONS",
    "PROCESSES",
    "RESULTS",
    "SCHEDULE",
    "SIGNING",
    "describe",
]

DEFINITIONS: tuple[SettingDefinition, ...] = (*CLUSTER, *BROKER, *SIGNING, *DELIVERY, *RESULTS, *SCHEDULE, *PROCESSES)

BY_KEY = {name: each for each in DEFINITIONS for name in (each.key, *each.aliases)}
"""Every name that may stand in ``Q_CLUSTER``."""


def describe(settings: Settings) -> Sequence[tuple[SettingDefinition, object]]:
    """Each option and what holds for it; safe to print. The broker stands under ``broker``, as kind and options."""
    rows: list[tuple[SettingDefinition, object]] = []
    for each in DEFINITIONS:
        if each.key == "broker":
            broker = settings.broker
            rows.append((each, {broker.class_path or broker.kind: broker.options}))
        elif each.field:
            rows.append((each, each.value_in(settings)))
    return rows
