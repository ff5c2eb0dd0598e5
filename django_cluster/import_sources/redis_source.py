"""Moving what waits in Redis: take, send, forget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django_cluster.core.messages import TaskPackage
from django_cluster.errors import ImportSourceUnavailable
from django_cluster.import_sources.calls import read_all, send
from django_cluster.importing.options import ImportOptions
from django_cluster.importing.redis_claims import Item, RedisClaims
from django_cluster.importing.report import ImportReport

TIMEOUTS: Mapping[str, Any] = {"socket_connect_timeout": 10, "socket_timeout": 30}


def move(
    claims: RedisClaims,
    read: Callable[[Item], TaskPackage],
    options: ImportOptions,
    report: ImportReport,
    done: Callable[[Item], None] = lambda item: None,
) -> None:
    """Move all items. ``done`` is called for each that was sent. What cannot be read stays."""
    target = options.target()
    try:
        while items := claims.take():
            good, refused, packages = read_all(items, read, report)
            send(target, packages)
            if not options.dry_run:
                claims.finish(refused)
                for item in good:
                    done(item)
            report.imported += len(good)
    finally:
        if not options.dry_run:
            claims.return_refused()


@contextmanager
def connected(url: str, keywords: Mapping[str, Any]) -> Iterator[Any]:
    """A client, by an address or by keywords. Raises ``ImportSourceUnavailable``, also for what the block asks."""
    try:
        import redis
    except ImportError as error:
        raise ImportSourceUnavailable("redis-py is not installed: pip install 'django-cluster[redis]'.") from error
    try:
        server = redis.Redis.from_url(url, **TIMEOUTS) if url else redis.Redis(**{**TIMEOUTS, **keywords})
    except ValueError as error:
        raise ImportSourceUnavailable(f"The address of Redis cannot be used: {error}") from error
    try:
        yield server
    except redis.RedisError as error:
        raise ImportSourceUnavailable(f"Redis cannot be used: {error}") from error
    finally:
        server.close()
