"""Every kind of log record of this package.

An event has a stable key, which each record carries as ``record.event``, beside its fields; the reference page
``docs/reference/log-events.md`` is generated from these modules. Code of the package logs by ``Event.log`` alone.
"""

from __future__ import annotations

from django_cluster.core.events import cluster, messages, processes, schedules, servers, tasks
from django_cluster.core.events.event import FIELDS, LOGGER, TASK_LOGGER, Event

__all__ = ["EVENTS", "FIELDS", "LOGGER", "TASK_LOGGER", "Event"]

MODULES = (cluster, processes, tasks, messages, schedules, servers)

EVENTS = {each.key: each for module in MODULES for each in vars(module).values() if isinstance(each, Event)}
"""Key → event, in the order of the modules."""
