"""Tokens for IronMQ from OpenStack Keystone (version 2.0 of its interface), where a project has no token of its own."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import urllib3
from django.core.exceptions import ImproperlyConfigured

from django_cluster.brokers.option_keys import refuse_unknown
from django_cluster.errors import BrokerRefused, BrokerUnavailable

KEYS = ("server", "tenant", "username", "password")
EARLY_SECONDS = 10.0
"""Seconds before its end at which a token is replaced."""
ASSUMED_SECONDS = 300.0
"""Seconds for which a token is used that does not say when it ends."""
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Keystone:
    """``Q_CLUSTER["iron_mq"]["keystone"]``, taken apart."""

    server: str
    """URL of the identity service, such as ``https://keystone.example/v2.0``."""
    tenant: str
    username: str
    password: str = field(repr=False)

    @classmethod
    def of(cls, written: Any) -> Keystone:
        """Raises ``ImproperlyConfigured`` for what is missing or not known."""
        if not isinstance(written, Mapping):
            raise ImproperlyConfigured(f"iron_mq: keystone is a dict with {', '.join(KEYS)}.")
        refuse_unknown("iron_mq: keystone", written, KEYS)
        if missing := [key for key in KEYS if not written.get(key)]:
            raise ImproperlyConfigured(f"iron_mq: keystone lacks {' and '.join(missing)}.")
        server = str(written["server"]).rstrip("/")
        if not server.startswith(("http://", "https://")):
            raise ImproperlyConfigured("iron_mq: the server of keystone begins with http:// or https://.")
        return cls(server, str(written["tenant"]), str(written["username"]), str(written["password"]))


class KeystoneTokens:
    """Asks for a token when there is none, and again shortly before it ends."""

    def __init__(self, keystone: Keystone) -> None:
        self._keystone = keystone
        self._token, self._until = "", 0.0

    def token(self, pool: urllib3.PoolManager) -> str:
        """A token that is certainly valid for some seconds; raises ``BrokerUnavailable`` and ``BrokerRefused``."""
        now = time.monotonic()
        if not self._token or now >= self._until:
            self._token, seconds = self._ask(pool)
            self._until = now + max(seconds - EARLY_SECONDS, 0.0)
        return self._token

    def forget(self) -> None:
        """The token was refused: it is asked for anew."""
        self._token = ""

    def _ask(self, pool: urllib3.PoolManager) -> tuple[str, float]:
        own = self._keystone
        credentials = {"username": own.username, "password": own.password}
        try:
            answer = pool.request(
                "POST",
                f"{own.server}/tokens",
                body=json.dumps({"auth": {"tenantName": own.tenant, "passwordCredentials": credentials}}),
                headers={"Content-Type": "application/json", "Accept": "application/json"},
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS),
            )
        except urllib3.exceptions.HTTPError as error:
            raise BrokerUnavailable(f"Keystone at {own.server} cannot be reached: {error}") from error
        if answer.status >= 500 or answer.status in (408, 429):
            raise BrokerUnavailable(f"Keystone at {own.server} cannot be used now: {answer.status}")
        if answer.status >= 400:
            raise BrokerRefused(f"Keystone at {own.server} does not let us in: {answer.status}")
        try:
            token = json.loads(answer.data)["access"]["token"]
            return str(token["id"]), _seconds_of(token)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BrokerRefused(f"Keystone at {own.server} gives an answer without a token.") from error


def _seconds_of(token: Mapping[str, Any]) -> float:
    """For how long a token holds; by the clock of Keystone, if it says when it was issued."""
    try:
        begin = _moment(token["issued_at"]) if "issued_at" in token else datetime.now(UTC)
        return (_moment(token["expires"]) - begin).total_seconds()
    except (KeyError, TypeError, ValueError):
        return ASSUMED_SECONDS


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
