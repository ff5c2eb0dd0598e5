"""The only reader of ``django.conf``: what the project has written."""

from __future__ import annotations

import os
from typing import Any

from django.conf import UserSettingsHolder, settings
from django.core.exceptions import ImproperlyConfigured

from django_cluster.core.settings.parser import ParseContext
from django_cluster.core.signing import secret_text


def as_written() -> Any:
    """``Q_CLUSTER`` as it is written, whatever ``lay_over`` says; an empty dict if it is not."""
    return getattr(settings, "Q_CLUSTER", {})


def written_by_the_project() -> Any:
    """``Q_CLUSTER`` of the project, without what ``override_settings`` has set."""
    layer: Any = vars(settings)["_wrapped"]
    found = getattr(layer, "Q_CLUSTER", {})
    while isinstance(layer, UserSettingsHolder):
        layer = layer.default_settings
        found = getattr(layer, "Q_CLUSTER", found)
    return found


def written_tasks() -> Any:
    """``TASKS`` as it is written; None if it is not."""
    return getattr(settings, "TASKS", None)


def written_setting(name: str) -> Any:
    """A setting of another package, such as ``RQ_QUEUES``, as it is written; None if it is not."""
    return getattr(settings, name, None)


def databases() -> dict[str, Any]:
    """``DATABASES``, for checks of aliases that open no connection."""
    return dict(settings.DATABASES)


def caches() -> dict[str, Any]:
    """``CACHES``, for checks of aliases that open no connection."""
    return dict(settings.CACHES)


def configures_logging() -> bool:
    """Whether ``LOGGING`` is not empty."""
    return bool(settings.LOGGING)


def debugging() -> bool:
    """Whether this is a machine for development, by ``DEBUG``."""
    return bool(settings.DEBUG)


def reporter_filter() -> str:
    """The path of the class whose rules hide what error reports contain."""
    return str(settings.DEFAULT_EXCEPTION_REPORTER_FILTER)


def parse_context(cluster: str | None, secret: str | None = None) -> ParseContext:
    """What ``Q_CLUSTER`` is read with; ``secret`` replaces ``SECRET_KEY``."""
    return ParseContext(
        secret=secret_text(_secret_key()) if secret is None else secret,
        fallbacks=tuple(map(secret_text, settings.SECRET_KEY_FALLBACKS)),
        time_zone=settings.TIME_ZONE if settings.USE_TZ else None,
        cluster=cluster,
        environment=os.environ,
    )


def _secret_key() -> str | bytes:
    """``SECRET_KEY``; empty where Django raises for an empty one, so that it is reported with all other problems."""
    try:
        key: str | bytes = settings.SECRET_KEY
    except ImproperlyConfigured:
        return ""
    return key
