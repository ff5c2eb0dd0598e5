"""The only reader of ``django.conf``: Django's settings and the environment → ``Settings``.

Nothing is read when this module is imported. Settings are read when they are first asked for, and read
again after Django says that one of them has changed (``override_settings``).
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from django_cluster.core.settings import Settings
from django_cluster.core.settings_parser import Review, Surroundings, review
from django_cluster.errors import InvalidSettings

CLUSTER_VARIABLE = "Q_CLUSTER_NAME"
"""The environment variable that picks the cluster when the command line does not."""

SETTINGS_READ = frozenset(
    {"Q_CLUSTER", "SECRET_KEY", "SECRET_KEY_FALLBACKS", "TIME_ZONE", "USE_TZ", "CACHES", "DATABASES"}
)


class ClusterImproperlyConfigured(InvalidSettings, ImproperlyConfigured):
    """``Q_CLUSTER`` cannot be used. Caught as Django's exception, or as ours."""


def load_settings(cluster: str | None = None) -> Settings:
    """The settings of this cluster: of ``cluster``, of ``Q_CLUSTER_NAME``, or of the root.

    Raises ``ClusterImproperlyConfigured`` with all problems.
    """
    return _load(cluster or os.environ.get(CLUSTER_VARIABLE) or None)


def forget_settings() -> None:
    """Read everything again when it is next asked for: the environment has changed."""
    _load.cache_clear()


def review_settings(cluster: str | None = None, *, secret: str | None = None) -> Review:
    """What there is to say about the settings, read anew; ``secret`` stands in for ``SECRET_KEY``."""
    surroundings = Surroundings(
        secret=_text(_secret_key()) if secret is None else secret,
        fallbacks=tuple(_text(each) for each in settings.SECRET_KEY_FALLBACKS),
        time_zone=settings.TIME_ZONE if settings.USE_TZ else None,
        cluster=cluster,
        environment=os.environ,
    )
    return review(configured(), surroundings)


def configured() -> Any:
    """``Q_CLUSTER`` as it is written; an empty dict if it is not."""
    return getattr(settings, "Q_CLUSTER", {})


def databases() -> dict[str, Any]:
    """``DATABASES``, for those who check aliases without opening a connection."""
    return dict(settings.DATABASES)


def caches() -> dict[str, Any]:
    """``CACHES``, likewise."""
    return dict(settings.CACHES)


def debugging() -> bool:
    """Whether this is somebody's own machine, as far as ``DEBUG`` tells."""
    return bool(settings.DEBUG)


@cache
def _load(cluster: str | None) -> Settings:
    found = review_settings(cluster)
    if found.settings is None:
        raise ClusterImproperlyConfigured([problem for problem in found.problems if problem.is_error])
    return found.settings


def _secret_key() -> str | bytes:
    """Django refuses to hand out an empty one; that is reported together with everything else."""
    try:
        key: str | bytes = settings.SECRET_KEY
    except ImproperlyConfigured:
        return ""
    return key


def _text(key: str | bytes) -> str:
    """Django allows bytes as a key; any text will do as long as different bytes give different text."""
    return key.decode("latin-1") if isinstance(key, bytes) else key


def _forget_changed(*, setting: str, **_: object) -> None:
    if setting in SETTINGS_READ:
        forget_settings()


setting_changed.connect(_forget_changed, dispatch_uid="django_cluster.conf")
