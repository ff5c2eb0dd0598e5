"""What is peculiar to the MongoDB broker: options of the client, where it reads and writes, a server that hangs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from pymongo import ReadPreference, WriteConcern

from django_cluster.brokers.messages import Message
from django_cluster.brokers.mongo import MESSAGES, MongoBroker
from django_cluster.core.masking import MaskedMapping
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerRefused, BrokerUnavailable
from django_cluster.testing.contracts import lease_all, payloads
from tests.brokers import opener
from tests.servers import NxServer, require
from tests.servers.base import free_port


@pytest.fixture
def own_server() -> Iterator[NxServer]:
    """A server that a test may hurt."""
    require("nx-27017")
    server = NxServer().start()
    yield server
    server.stop()


def broker_with(database: str | None = None, **kwargs: Any) -> MongoBroker:
    """As from the settings, which freeze what is written there."""
    options = {"kwargs": kwargs} if database is None else {"kwargs": kwargs, "database": database}
    return MongoBroker(BrokerSettings(kind="mongo", options=MaskedMapping(options)))


def test_opening_a_broker_opens_no_connection() -> None:
    broker_with(host="mongodb://nobody.invalid")


@pytest.mark.parametrize(
    ("url", "named", "database"),
    [
        ("mongodb://h", None, "django-q"),
        ("mongodb://h/shop", None, "shop"),
        ("mongodb://h/shop", "queues", "queues"),
    ],
)
def test_the_database_is_the_one_that_is_named_or_that_of_the_url(url: str, named: str | None, database: str) -> None:
    broker = broker_with(named, host=url)

    assert broker._messages.full_name == f"{database}.{MESSAGES}"
    broker.close()


def test_a_write_counts_when_the_majority_has_it_and_what_is_claimed_is_read_at_the_primary() -> None:
    """A secondary may not know yet what was claimed: the claim would be lost until its lease ends."""
    broker = broker_with(host="mongodb://h/?readPreference=secondaryPreferred", readPreferenceTags=["dc:ny"])
    assert broker._messages.write_concern == WriteConcern("majority")
    assert broker._messages.read_preference == ReadPreference.PRIMARY
    broker.close()

    other = broker_with(host="mongodb://h/?w=2")
    assert other._messages.write_concern == WriteConcern(2)
    other.close()


@pytest.mark.parametrize(
    "kwargs",
    [
        {"port": "many"},
        {"socketTimeoutMS": "long"},
        {"username": "me", "password": "hush", "authMechanism": "none"},
        {"tls": True, "tlsCAFile": "/nowhere.pem"},
        {"host": "mongodb://me:hu@sh:1@h"},
    ],
)
def test_options_that_make_no_sense_are_refused_and_secrets_not_shown(kwargs: dict[str, Any]) -> None:
    broker = broker_with(**kwargs)

    with pytest.raises(BrokerRefused, match="MongoDB at") as caught:
        broker.enqueue([Message("one")])
    assert "hush" not in str(caught.value)
    assert "sh:1@h" not in str(caught.value)


@pytest.mark.parametrize("kwargs", [{"foo": 1}, {"host": "mongodb://h/?foo=1"}])
def test_an_unknown_option_is_named(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"mongo: foo.* is not known"):
        broker_with(**kwargs)


def test_a_server_that_is_away_is_said_in_five_seconds_and_without_the_password() -> None:
    broker = broker_with(host=f"mongodb://me:hush@127.0.0.1:{free_port()}/")
    started = time.monotonic()

    with pytest.raises(BrokerUnavailable) as caught:
        broker.enqueue([Message("one")])
    assert time.monotonic() - started < 8
    assert "hush" not in repr(broker.settings) + str(caught.value)
    broker.close()


def test_a_server_that_hangs_is_said_in_time_and_used_again_when_it_goes_on(own_server: NxServer) -> None:
    broker = opener("mongo", kwargs={"host": own_server.url}, database="tests")()
    broker.enqueue([Message("one")])

    with own_server.paused():
        started = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            broker.lease(5)
        assert time.monotonic() - started < 18
    assert payloads(lease_all(broker, 1)) == ["one"]
    broker.close()


def test_the_indexes_are_made_once(nx_server: NxServer) -> None:
    broker = MongoBroker(
        BrokerSettings(kind="mongo", options={"kwargs": {"host": nx_server.url}, "database": "indexes"})
    )

    broker.prepare()
    broker.prepare()
    assert len(broker._messages.index_information()) == 3  # with that of "_id"
    broker.close()


def test_a_clock_that_is_set_changes_neither_delays_nor_leases(
    nx_server: NxServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = time.time
    open_another = opener("mongo", kwargs={"host": nx_server.url}, database="tests")
    broker = open_another(lease=60)
    another = open_another(queue=broker.queue)
    broker.enqueue([Message("now"), Message("in an hour", not_before=right() + 3600)])
    assert payloads(another.lease(1)) == ["now"]

    for ahead in (7200.0, -7200.0):
        monkeypatch.setattr(time, "time", lambda ahead=ahead: right() + ahead)
        assert list(broker.lease(2)) == []
        assert broker.size().delayed == 1

    broker.close()
    another.close()


def test_a_slow_search_for_what_is_due_takes_nothing_from_the_lease(nx_server: NxServer) -> None:
    """Half a lease after a claim its messages are returned; a server that reads all documents searches for longer."""

    class SlowlySearched(MongoBroker):
        def _promote(self, now: float) -> float:
            time.sleep(1.2)
            return super()._promote(now)

    usual = opener("mongo", kwargs={"host": nx_server.url}, database="tests")(lease=2)
    usual.enqueue([Message("one")])
    broker = SlowlySearched(usual.settings)

    assert payloads(broker.lease(1)) == ["one"]

    broker.close()
    usual.close()
