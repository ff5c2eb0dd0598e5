"""A database router for projects whose queue, or results, are not in the default database::

DATABASE_ROUTERS = ["django_cluster.routers.ClusterRouter"]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model

from django_cluster.conf import load_settings
from django_cluster.core.settings import BrokerSettings, Settings
from django_cluster.errors import InvalidSettings

APP_LABEL = "django_cluster"
QUEUE_MODELS = frozenset({"queuedtask", "acknowledgedmessages"})
"""Models that the ORM broker writes; all others belong to results and schedules."""


class ClusterRouter:
    """Routes the models of this package to the databases of ``Q_CLUSTER``, and no others.

    The queue is in the database ``orm``. Results and schedules are in ``results_db``; where that is not set, beside the
    queue, so that a result is saved and its message deleted in one transaction.
    """

    def db_for_read(self, model: type[Model], **hints: Any) -> str | None:
        return self._database(model, hints.get("instance"))

    def db_for_write(self, model: type[Model], **hints: Any) -> str | None:
        return self._database(model, hints.get("instance"))

    def allow_migrate(self, db: str, app_label: str, **_: Any) -> bool | None:
        """Whether the tables are made there; None for other apps."""
        settings = _settings() if app_label == APP_LABEL else None
        return None if settings is None else db in set(databases(settings))

    def _database(self, model: type[Model], instance: Model | None) -> str | None:
        if model._meta.app_label != APP_LABEL or (settings := _settings()) is None:
            return None
        if instance is not None and instance._state.db:
            return instance._state.db  # a row of another broker's database goes back there
        queue = alias_of(settings.broker)
        return queue if model._meta.model_name in QUEUE_MODELS else settings.results.database or queue


def databases(settings: Settings) -> Iterator[str]:
    """The aliases in which tables of this package are needed, some of them more than once."""
    queue = alias_of(settings.broker) or DEFAULT_DB_ALIAS
    yield queue
    yield settings.results.database or queue
    for section in (*settings.brokers.values(), *settings.queue_brokers.values()):
        if alias := alias_of(section):
            yield alias


def alias_of(section: BrokerSettings) -> str | None:
    """The database of an ORM broker; None for others."""
    return section.options.get("alias") if section.kind == "orm" else None


def _settings() -> Settings | None:
    """The settings; None if they cannot be used, which the checks report."""
    try:
        return load_settings()
    except InvalidSettings:
        return None
