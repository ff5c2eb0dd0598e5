"""The way to IronMQ: which project where, with which token and time-outs, and what its answers mean to us.

Over urllib3: botocore and requests stand on it, it keeps connections, and it says which part of a call has failed.
Iron's own client is written for Python 2.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import urllib3
from django.core.exceptions import ImproperlyConfigured

from django_cluster.brokers.ironmq_tokens import Keystone, KeystoneTokens
from django_cluster.brokers.option_keys import refuse_unknown
from django_cluster.errors import BrokerRefused, BrokerUnavailable

HOST = "mq-aws-us-east-1-1.iron.io"
KEYS = (
    *("host", "project_id", "token", "protocol", "port", "api_version", "config_file", "keystone", "cloud"),
    *("path_prefix", "minimum_timeout"),
)
VARIABLES = ("IRON_MQ_", "IRON_")
"""Prefixes of Iron's own environment variables; the first takes precedence."""

CONNECT_SECONDS = 2.0
"""Seconds for the service to accept a connection."""
ANSWER_SECONDS = 5.0
"""Seconds for an answer, apart from those for which we asked it to wait."""

LOST_STATUSES = frozenset({403, 404})
"""The reservation of a message has ended, or the message is gone."""


@dataclass(frozen=True, slots=True)
class IronOptions:
    """``Q_CLUSTER["iron_mq"]``, taken apart."""

    project_id: str
    token: str = field(default="", repr=False)
    """Empty where Keystone gives one."""
    host: str = HOST
    protocol: str = "https"
    port: int = 443
    path_prefix: str = ""
    """Path before the version in every URL; begins with a slash."""
    keystone: Keystone | None = None
    minimum_timeout: int = 30
    """Seconds of the shortest reservation that the service allows."""

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> IronOptions:
        """Raises ``ImproperlyConfigured`` for missing and unknown keys and for wrong values."""
        refuse_unknown("iron_mq", written, KEYS)
        said = {key: value for key, value in written.items() if value is not None}
        said = {**_of_environment(), **_of_file(said.get("config_file")), **said}
        keystone = Keystone.of(said["keystone"]) if said.get("keystone") else None
        needed = ("project_id",) if keystone else ("project_id", "token")
        if missing := [key for key in needed if not said.get(key)]:
            raise ImproperlyConfigured(f"iron_mq: {' and '.join(missing)} must be there.")
        if str(said.get("api_version", 3)) != "3":
            raise ImproperlyConfigured(f"iron_mq: api_version is 3, not {said['api_version']!r}.")
        said |= _of_cloud(said.get("cloud"))
        protocol = str(said.get("protocol", "https"))
        if protocol not in ("http", "https"):
            raise ImproperlyConfigured(f"iron_mq: protocol is http or https, not {protocol!r}.")
        return cls(
            project_id=str(said["project_id"]),
            token="" if keystone else str(said["token"]),
            keystone=keystone,
            path_prefix=_prefix(said.get("path_prefix")),
            host=str(said.get("host", HOST)),
            protocol=protocol,
            port=_whole("port", said.get("port", 443 if protocol == "https" else 80)),
            minimum_timeout=_whole("minimum_timeout", said.get("minimum_timeout", 30)),
        )


def _of_cloud(url: Any) -> dict[str, Any]:
    """``cloud``: protocol, host, port and path in one URL, which wins over each by itself."""
    if not url:
        return {}
    try:
        parts = urlsplit(str(url))
        port = parts.port
    except ValueError:
        raise ImproperlyConfigured("iron_mq: cloud is a URL that cannot be read.") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ImproperlyConfigured("iron_mq: cloud is a URL such as https://mq.example:8080/prefix.")
    found = {"protocol": parts.scheme, "host": parts.hostname, "path_prefix": parts.path}
    return {**found, **({"port": port} if port else {})}


def _prefix(written: Any) -> str:
    path = str(written or "").strip("/")
    return f"/{path}" if path else ""


def _of_environment() -> dict[str, Any]:
    # The last one wins. Keystone is a dict, which a variable is not.
    keys = [key for key in KEYS if key != "keystone"]
    names = [(f"{prefix}{key.upper()}", key) for prefix in reversed(VARIABLES) for key in keys]
    return {key: os.environ[name] for name, key in names if name in os.environ}


def _of_file(path: Any) -> dict[str, Any]:
    """Iron's ``iron.json``: keys at its root, and under ``iron_mq``, which win."""
    if not path:
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            root = json.load(file)
        whole = {**root, **root.get("iron_mq", {})}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ImproperlyConfigured(f"iron_mq: the config_file {path} cannot be read: {error}") from error
    return {key: whole[key] for key in KEYS if key in whole}


def _whole(name: str, value: Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if isinstance(value, bool) or number < 1:
        raise ImproperlyConfigured(f"iron_mq: {name} is a whole number of at least 1, not {value!r}.")
    return number


class ReservationLost(Exception):
    """The answer of a message: its reservation has ended, or it is gone. ``gone`` tells them apart."""

    def __init__(self, *, gone: bool) -> None:
        super().__init__("gone" if gone else "the reservation has ended")
        self.gone = gone


class IronConnection:
    """One reused client, and the address of one queue; a forked child never touches that of its parent."""

    def __init__(self, options: IronOptions, queue: str) -> None:
        self._options, self._queue = options, queue
        self._pool: urllib3.PoolManager | None = None
        self._pid = 0
        place = f"{options.protocol}://{options.host}:{options.port}{options.path_prefix}/3"
        self._tokens = None if options.keystone is None else KeystoneTokens(options.keystone)
        self._url = f"{place}/projects/{quote(options.project_id, safe='')}/queues/{quote(queue, safe='')}"

    @property
    def pool(self) -> urllib3.PoolManager:
        if self._pool is None or self._pid != os.getpid():
            # What only reads, or may be done twice, is tried again when a connection breaks.
            retries = urllib3.Retry(total=1, redirect=0, status=0, other=0, backoff_factor=0)
            self._pool, self._pid = urllib3.PoolManager(maxsize=1, retries=retries), os.getpid()
        return self._pool

    @property
    def address(self) -> str:
        """Which queue where."""
        return f"{self._queue} at {self._options.host}"

    def call(self, verb: str, path: str = "", body: Mapping[str, Any] | None = None, *, wait: float = 0.0) -> Any:
        """Call the queue; returns its answer, or None if there is no such queue. Raises the errors of the broker port.

        ``wait``: seconds for which it was asked to wait for messages.
        """
        status, answer = self._exchange(verb, path, body, wait)
        return None if status == 404 else self._checked(status, answer)

    def about(self, message: str, verb: str, path: str = "", body: Mapping[str, Any] | None = None) -> Any:
        """Change one message. Raises ``ReservationLost`` if its reservation has ended."""
        status, answer = self._exchange(verb, f"/messages/{quote(message, safe='')}{path}", body, 0.0)
        if status in LOST_STATUSES:
            raise ReservationLost(gone=status == 404)
        return self._checked(status, answer)

    def forget(self, reserved: Mapping[str, str]) -> bool:
        """Delete these messages (id → reservation) in one call; False if at least one reservation was lost."""
        ids = [{"id": id, "reservation_id": reservation} for id, reservation in reserved.items()]
        status, answer = self._exchange("DELETE", "/messages", {"ids": ids}, 0.0)
        if status in LOST_STATUSES:
            return False
        self._checked(status, answer)
        return True

    def _exchange(self, verb: str, path: str, body: Mapping[str, Any] | None, wait: float) -> tuple[int, Any]:
        found = self._request(verb, path, body, wait)
        if found[0] == 401 and self._tokens is not None:
            self._tokens.forget()  # it may have been revoked before its end; the service has done nothing
            found = self._request(verb, path, body, wait)
        return found

    def _request(self, verb: str, path: str, body: Mapping[str, Any] | None, wait: float) -> tuple[int, Any]:
        token = self._options.token if self._tokens is None else self._tokens.token(self.pool)
        headers = {"Authorization": f"OAuth {token}", "Content-Type": "application/json"}
        try:
            answer = self.pool.request(
                verb,
                self._url + path,
                body=None if body is None else json.dumps(body),
                headers=headers,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS + wait),
            )
        except urllib3.exceptions.HTTPError as error:
            raise BrokerUnavailable(f"IronMQ cannot be reached for the queue {self.address}: {error}") from error
        try:
            found = json.loads(answer.data or b"{}")
        except (ValueError, RecursionError):
            found = {}
        return answer.status, found if isinstance(found, dict) else {}

    def _checked(self, status: int, answer: Any) -> Any:
        if status < 400:
            return answer
        said = answer.get("msg", "") if isinstance(answer, dict) else ""
        words = f"for the queue {self.address}: {status} {said}".rstrip()
        if status in (401, 403):
            raise BrokerRefused(f"IronMQ does not let us in {words}")
        if status >= 500 or status in (408, 429):
            raise BrokerUnavailable(f"IronMQ cannot be used now {words}")
        raise BrokerRefused(f"IronMQ refused {words}")

    def close(self) -> None:
        if self._pool is not None and self._pid == os.getpid():
            self._pool.clear()
        self._pool = None
