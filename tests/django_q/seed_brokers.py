"""A broker of a project that notes what it is asked for."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

from django_cluster.brokers.messages import Delivery
from django_cluster.brokers.orm import OrmBroker

NOTES = "SEED_NOTES"
"""The environment variable that names the file of the notes."""


class NotingBroker(OrmBroker):
    """Writes a line for each call that has leased something: how many were asked for, and how many came."""

    def lease(self, limit: int, wait: float = 0.0, *, not_after: float = math.inf) -> Sequence[Delivery]:
        found = super().lease(limit, wait, not_after=not_after)
        if found:
            with open(os.environ[NOTES], "a", encoding="ascii") as notes:
                notes.write(f"{limit} {len(found)}\n")
        return found
