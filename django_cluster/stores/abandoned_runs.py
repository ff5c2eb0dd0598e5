"""Whether a run that a row calls running goes on anywhere: asked when a message comes that another run forbids.

A message may come back under the number that it had: its worker was stopped in the middle of the run, or could write
neither how a snoozed run ended nor hear that its beginning was written. The end of such a run would never be written.
"""

from __future__ import annotations

from django_cluster.core.time import to_unix_time
from django_cluster.models import TrackedTask
from django_cluster.stores.status import StatusStore

LEAST_SILENCE = 15.0
"""Seconds after its beginning for which a run is believed to go on, whatever heartbeats say: clocks differ."""
SILENCE_WITHOUT_HEARTBEATS = 3600.0
"""Seconds for which it is believed where no cluster lives that says what it runs: ``heartbeat_interval`` may be 0."""


def is_abandoned(row: TrackedTask, database: str, now: float) -> bool:
    """Whether no living cluster runs the task of this row, and its run has begun too long ago for them not to know.

    ``now``: Unix time. Raises ``StoreUnavailable``.
    """
    silence = now - (0.0 if row.last_attempted_at is None else to_unix_time(row.last_attempted_at))
    if silence < LEAST_SILENCE:
        return False
    clusters = StatusStore(database).all()
    if not clusters:
        return silence >= SILENCE_WITHOUT_HEARTBEATS
    if any(each.runner_of(row.id) or any(worker.unlisted for worker in each.workers) for each in clusters):
        return False
    return silence >= max(each.patience for each in clusters)
