"""The broker of Django-Q that ``Q_CLUSTER`` selects, by Django-Q's precedence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PRECEDENCE = ("broker_class", "iron_mq", "sqs", "orm", "mongo")
"""Keys of ``Q_CLUSTER`` that choose a broker in Django-Q; the first that is set decides. Without any, it is Redis."""
REDIS = "redis"
READABLE = ("orm", "sqs", "mongo", REDIS)


def kind_of(written: Any) -> str:
    """One of ``PRECEDENCE``, or ``REDIS``. ``written``: ``Q_CLUSTER`` as it is written."""
    mapping = written if isinstance(written, Mapping) else {}
    return next((key for key in PRECEDENCE if mapping.get(key)), REDIS)


def names_redis(written: Any) -> bool:
    """Whether the settings say where Redis is; otherwise Django-Q took the one of this machine."""
    return isinstance(written, Mapping) and bool(written.get("redis") or written.get("django_redis"))


def redis_of(written: Any, **timeouts: float) -> Any:
    """A client for the server of Django-Q's queue. Raises ``ImportError`` without redis-py."""
    import redis

    mapping = written if isinstance(written, Mapping) else {}
    if alias := mapping.get("django_redis"):
        from django.core.cache import caches

        cache: Any = caches[alias]
        # django-redis, or the cache of Django itself.
        return cache.client.get_client() if hasattr(cache, "client") else cache._cache.get_client()
    given = mapping.get("redis")
    if isinstance(given, str):
        return redis.Redis.from_url(given, **timeouts)
    keywords = dict(given) if isinstance(given, Mapping) else {}
    if url := keywords.pop("url", None):
        return redis.Redis.from_url(url, **{**timeouts, **keywords})
    return redis.Redis(**{**timeouts, **keywords})
