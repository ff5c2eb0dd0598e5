"""The way to a MongoDB server: which client, with which time-outs, whose clock, and what its errors mean to us.

Options of the user take precedence. Without them every wait has an end, and writes wait for the majority of the
servers.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from bson import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from pymongo import MongoClient, ReadPreference, common, errors
from pymongo.collection import Collection

from django_cluster.brokers.option_keys import refuse_unknown, texts
from django_cluster.core.masking import plain
from django_cluster.errors import BrokerRefused, BrokerUnavailable

Document = dict[str, Any]

DATABASE = "django-q"
"""The database where neither ``mongo_db`` nor the URL names one; Django-Q's name for it."""

CLOCK_LIFETIME = 60.0
"""Seconds after which the clock of the server is asked again."""

CLOCK_TOLERANCE = 1.0
"""Seconds by which the wall clock of this machine may move against its monotonic clock meanwhile."""

UNAUTHORIZED = frozenset({13, 18, 8000})
"""Codes of errors that do not get better by waiting: Unauthorized, AuthenticationFailed, and Atlas' own."""

DEFAULTS: Mapping[str, Any] = {
    "serverSelectionTimeoutMS": 5000,
    "connectTimeoutMS": 3000,
    "socketTimeoutMS": 10_000,
    "w": "majority",
    "appname": "django_cluster",
}


KNOWN = frozenset({"host", "port", *common.VALIDATORS})
"""Keywords of the client, and options of its URLs, in small letters: capitals mean nothing there."""

FORGIVING: CodecOptions[Document] = CodecOptions(
    unicode_decode_error_handler="backslashreplace", datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
"""How documents are read: a text that is no UTF-8, or a moment that Python cannot name, is no reason to raise."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MongoConnection:
    """One reused client; a forked child never touches that of its parent."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        written = plain(options.get("kwargs", {}))
        refuse_unknown("mongo", [key for key in written if key.lower() not in KNOWN], KNOWN)
        refuse_unknown("mongo", [key for key in options_of_urls(written) if key not in KNOWN], KNOWN, " in the URL")
        self._keywords = with_defaults(written)
        self._database = options.get("database")
        self._client: MongoClient[Document] | None = None
        self._end: Callable[[], object] = lambda: None
        self._pid = 0
        self._ahead, self._asked_at, self._difference = 0.0, float("-inf"), 0.0

    @property
    def client(self) -> MongoClient[Document]:
        if self._client is None or self._pid != os.getpid():
            self.close()
            self._client, self._pid = self._build(), os.getpid()
            # A client that is merely dropped complains with a warning.
            self._end = weakref.finalize(self, _close, self._client, self._pid)
        return self._client

    def _build(self) -> MongoClient[Document]:
        try:
            return MongoClient(**self._keywords)
        except (TypeError, ValueError, OSError) as error:  # a port that is no number, a certificate that is not there
            raise BrokerRefused(f"MongoDB at {self.address} cannot be used with these options: {error}") from error

    def collection(self, name: str) -> Collection[Document]:
        """Read at the primary, whatever the URL prefers: what has been claimed is not yet elsewhere."""
        database = self.client[self._database] if self._database else self.client.get_default_database(DATABASE)
        return database.get_collection(name, codec_options=FORGIVING, read_preference=ReadPreference.PRIMARY)

    @property
    def address(self) -> str:
        """Addresses of the servers, without credentials."""
        return ",".join(part.rpartition("//")[2].rpartition("@")[2].partition("/")[0] for part in hosts(self._keywords))

    def now(self) -> float:
        """The server's time (Unix, seconds), so that clusters agree on when a lease ends.

        Asked now and then, not with every call. In between the monotonic clock counts, which does not follow when the
        clock of this machine is set; it stands still while the machine sleeps, so the server is asked again as soon as
        the two clocks of the machine differ otherwise than before.
        """
        steady, wall = time.monotonic(), time.time()
        if steady - self._asked_at > CLOCK_LIFETIME or abs(wall - steady - self._difference) > CLOCK_TOLERANCE:
            said = self.client.admin.command("hello").get("localTime")
            between = (steady + time.monotonic()) / 2
            self._ahead = ((said.replace(tzinfo=UTC) - EPOCH).total_seconds() if said else time.time()) - between
            self._asked_at = time.monotonic()
            self._difference = wall - steady
        return time.monotonic() + self._ahead

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Within the block, errors of pymongo become those of the broker port."""
        try:
            yield
        except (errors.ConfigurationError, errors.DocumentTooLarge) as error:
            raise BrokerRefused(f"MongoDB at {self.address} refused: {error}") from error
        except errors.OperationFailure as error:
            if error.code in UNAUTHORIZED:
                raise BrokerRefused(f"MongoDB at {self.address} does not let us in: {error}") from error
            raise BrokerUnavailable(f"MongoDB at {self.address} cannot be used now: {error}") from error
        except (errors.PyMongoError, BSONError) as error:
            raise BrokerUnavailable(f"MongoDB at {self.address} cannot be used now: {error}") from error

    def close(self) -> None:
        self._end()
        self._client, self._asked_at = None, float("-inf")


_inherited: list[MongoClient[Document]] = []
"""Clients of a parent process: not ours to close, and to drop them would close what they hold."""


def _close(client: MongoClient[Document], pid: int) -> None:
    if pid == os.getpid():
        client.close()
    else:
        _inherited.append(client)


def hosts(keywords: Mapping[str, Any]) -> Sequence[str]:
    """Host names or URLs that the client connects to."""
    return texts("mongo", "host", keywords.get("host") or "localhost")


def options_of_urls(keywords: Mapping[str, Any]) -> set[str]:
    """The names of the options, in small letters, that stand behind the ``?`` of the client's URLs."""
    return {
        name.lower()
        for host in hosts(keywords)
        for name, _ in parse_qsl(str(host).partition("?")[2], keep_blank_values=True)
    }


def with_defaults(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The client's keywords, with ours where neither a keyword nor the URL says anything."""
    said = {name.lower() for name in keywords}
    said.update(options_of_urls(keywords))
    ours = {name: value for name, value in DEFAULTS.items() if name.lower() not in said}
    return {**ours, **keywords}
