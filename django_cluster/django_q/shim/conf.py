"""``Conf``: the settings under the names of Django-Q's class attributes, for reading."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from django_cluster.conf import configured, load_settings
from django_cluster.core.due import CatchUp
from django_cluster.core.settings import Settings

logger = logging.getLogger("django_cluster")

Reader = Callable[[Settings], Any]


def _as_configured(key: str) -> Reader:
    """What ``Q_CLUSTER`` says, for keys whose value here has another form."""
    return lambda _: configured().get(key)


READERS: Mapping[str, Reader] = {
    "PREFIX": lambda s: s.name,
    "CLUSTER_NAME": lambda s: s.queue,
    "LOG_LEVEL": lambda s: s.log_level,
    "LABEL": lambda s: s.label,
    "SYNC": lambda s: s.sync,
    "TESTING": lambda s: s.testing,
    "WORKERS": lambda s: s.processes.workers,
    "DAEMONIZE_WORKERS": lambda s: s.processes.daemonize,
    "RECYCLE": lambda s: s.processes.recycle,
    "MAX_RSS": lambda s: s.processes.max_rss,
    "TIMEOUT": lambda s: s.processes.timeout,
    "QUEUE_LIMIT": lambda s: s.processes.prefetch,
    "GUARD_CYCLE": lambda s: s.processes.guard_cycle,
    "CPU_AFFINITY": lambda s: s.processes.cpu_affinity,
    "RETRY": lambda s: s.broker.lease,
    "BULK": lambda s: s.broker.bulk,
    "POLL": lambda s: s.broker.poll,
    "ACK_FAILURES": lambda s: s.delivery.ack_failures,
    "MAX_ATTEMPTS": lambda s: s.delivery.max_attempts,
    "SAVE_LIMIT": lambda s: s.results.save_limit,
    "SAVE_LIMIT_PER": lambda s: s.results.save_limit_per,
    "CACHED": lambda s: s.results.cached,
    "CACHE": lambda s: s.results.cache,
    "COMPRESSED": lambda s: bool(s.signing.compress),
    "SCHEDULER": lambda s: s.schedule.enabled,
    "CATCH_UP": lambda s: s.schedule.catch_up is CatchUp.ALL,
    "TIME_ZONE": lambda s: s.schedule.time_zone,
    "ERROR_REPORTER": lambda s: s.reporters,
    "SECRET_KEY": lambda s: s.signing.secret,
    "Q_STAT": lambda s: f"django_q:{s.name}:cluster",
    "QSIZE": lambda s: True,
    **{
        key.upper(): _as_configured(key)
        for key in ("redis", "django_redis", "orm", "sqs", "mongo", "mongo_db", "iron_mq")
    },
    "BROKER_CLASS": _as_configured("broker_class"),
}

STATES = {name: name.capitalize() for name in ("STARTING", "WORKING", "IDLE", "STOPPED", "STOPPING")}


class _Conf:
    """Read when asked for, so that ``override_settings(Q_CLUSTER=…)`` has its effect."""

    def __getattr__(self, name: str) -> Any:
        if name in READERS:
            return READERS[name](load_settings())
        if name in STATES:
            return STATES[name]
        raise AttributeError(f"Conf has no {name}.")

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Conf.{name} cannot be set: use override_settings(Q_CLUSTER={{…}}).")

    def __dir__(self) -> list[str]:
        return sorted({*READERS, *STATES})

    def __repr__(self) -> str:
        return "Conf"


Conf = _Conf()
