"""``Conf``: the settings under the names of Django-Q's class attributes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from django_cluster.conf import as_written, configured, lay_over, load_settings
from django_cluster.core.due import CatchUp
from django_cluster.core.settings import Settings
from django_cluster.errors import InvalidSettings

logger = logging.getLogger("django-q")
"""Django-Q's own. What a cluster logs reaches its handlers (``shim/logs.py``)."""

Reader = Callable[[Settings], Any]


def _as_configured(key: str) -> Reader:
    """What ``Q_CLUSTER`` says, for keys whose value here has another form."""
    return lambda _: _laid[key] if key in _laid else as_written().get(key)


def _database_of_queue(settings: Settings) -> Any:
    """The alias of the database that is the broker, also where that is only so because nothing else is configured."""
    is_default = settings.broker.kind == "orm" and not settings.broker.class_path
    return _as_configured("orm")(settings) or ("default" if is_default else None)


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
    **{key.upper(): _as_configured(key) for key in ("redis", "django_redis", "sqs", "mongo", "mongo_db", "iron_mq")},
    "ORM": _database_of_queue,
    "BROKER_CLASS": _as_configured("broker_class"),
}

STATES = {name: name.capitalize() for name in ("STARTING", "WORKING", "IDLE", "STOPPED", "STOPPING")}


KEYS: Mapping[str, str] = {
    **{name: name.lower() for name in READERS if name not in ("SECRET_KEY", "Q_STAT", "QSIZE")},
    "PREFIX": "name",
    "COMPRESSED": "compress",
}
"""Attributes that can be set → their keys in ``Q_CLUSTER``."""

_laid: dict[str, Any] = {}
"""Keys of ``Q_CLUSTER`` → what has been set by ``Conf.X = …`` and not been undone."""


class _Conf:
    """Read when asked for, so that ``override_settings(Q_CLUSTER=…)`` has its effect.

    ``Conf.X = value`` and ``patch.object(Conf, "X", value)`` hold in this process, for everything that reads settings,
    until they are undone: by the end of the patch, ``del Conf.X``, or setting the value of the settings again.
    """

    @property
    def conf(self) -> Any:
        """``Q_CLUSTER``."""
        return configured()

    def __getattr__(self, name: str) -> Any:
        if name in READERS:
            return READERS[name](load_settings())
        if name in STATES:
            return STATES[name]
        raise AttributeError(f"Conf has no {name}.")

    def __setattr__(self, name: str, value: object) -> None:
        """Raises ``AttributeError`` for what is no setting, and ``InvalidSettings`` for a value that cannot be used."""
        if name not in KEYS:
            raise AttributeError(f"Conf.{name} is no key of Q_CLUSTER: use override_settings.")
        key, before = KEYS[name], dict(_laid)
        _replace({other: laid for other, laid in before.items() if other != key})
        if getattr(self, name) != value:
            _replace({**_laid, key: value})
        try:
            load_settings()
        except InvalidSettings:
            _replace(before)
            raise

    def __delattr__(self, name: str) -> None:
        if name not in KEYS:
            raise AttributeError(f"Conf.{name} is no key of Q_CLUSTER.")
        # Nothing is laid over it if it was set to what it was: the end of such a patch deletes it all the same.
        _replace({other: laid for other, laid in _laid.items() if other != KEYS[name]})

    def __dir__(self) -> list[str]:
        return sorted({*READERS, *STATES})

    def __repr__(self) -> str:
        return "Conf"


def _replace(values: Mapping[str, Any]) -> None:
    found = dict(values)
    _laid.clear()
    _laid.update(found)
    lay_over(found)


Conf = _Conf()
