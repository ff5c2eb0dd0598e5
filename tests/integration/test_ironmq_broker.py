"""What is peculiar to the IronMQ broker: whose token, reservations that change their names, a service away."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from django.core.exceptions import ImproperlyConfigured

from django_cluster.brokers.base import Broker
from django_cluster.brokers.ironmq import MAX_BYTES, IronMQBroker
from django_cluster.brokers.ironmq_connection import HOST, IronOptions
from django_cluster.core.queue_names import hyphenated_name
from django_cluster.core.settings import BrokerSettings
from django_cluster.errors import BrokerRefused, BrokerUnavailable
from django_cluster.testing.contracts import Opener, deliveries_of, eventually, lease_all, messages, payloads, receipts
from tests.brokers import opener
from tests.fields import fields
from tests.servers import IronServer, require

WRITTEN = {"project_id": "p", "token": "hush"}
KEYSTONE = {"server": "http://k/v2.0", "tenant": "long", "username": "user", "password": "hush"}


@pytest.fixture
def open_another(ironmq_server: IronServer) -> Opener:
    return opener("iron_mq", **ironmq_server.options)


@pytest.fixture
def broker(open_another: Opener) -> Iterator[Broker]:
    broker = open_another()
    yield broker
    broker.close()


@pytest.fixture
def own_server() -> Iterator[IronServer]:
    """A service that a test may hurt; its shortest reservation is that of IronMQ."""
    require("ironmq")
    server = IronServer(shortest=30).start()
    yield server
    server.stop()


def asked(server: IronServer, path: str) -> Any:
    """What the service says to somebody else."""
    url = f"http://127.0.0.1:{server.port}/3/projects/{server.project}{path}"
    return urllib3.request("GET", url, headers={"Authorization": f"OAuth {server.token}"}).json()


# -- options --------------------------------------------------------------------------------------


def test_a_project_and_a_token_are_enough() -> None:
    options = IronOptions.of(WRITTEN)

    assert fields(options, "host", "protocol", "port", "minimum_timeout") == {
        "host": HOST,
        "protocol": "https",
        "port": 443,
        "minimum_timeout": 30,
    }


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({}, "project_id and token must be there"),
        ({"token": "hush"}, "project_id must be there"),
        ({**WRITTEN, "hots": "h"}, "hots is not known.*host"),
        ({**WRITTEN, "api_version": 1}, "api_version is 3, not 1"),
        ({**WRITTEN, "protocol": "ftp"}, "http or https"),
        ({**WRITTEN, "port": "no"}, "port is a whole number"),
        ({**WRITTEN, "minimum_timeout": 0}, "minimum_timeout is a whole number"),
        ({**WRITTEN, "config_file": "/no/such/iron.json"}, "/no/such/iron.json cannot be read"),
        ({**WRITTEN, "path_prefx": "/x"}, "path_prefx is not known.*path_prefix"),
        ({**WRITTEN, "cloud": "mq.example"}, "cloud is a URL such as"),
        ({**WRITTEN, "cloud": "https://h:port"}, "cloud is a URL that cannot be read"),
        ({**WRITTEN, "keystone": "http://k"}, "keystone is a dict with server, tenant, username, password"),
        ({**WRITTEN, "keystone": {"server": "http://k", "pasword": "hush"}}, "pasword is not known.*password"),
        ({**WRITTEN, "keystone": {"server": "http://k", "tenant": "t"}}, "lacks username and password"),
        ({**WRITTEN, "keystone": {**KEYSTONE, "server": "k"}}, "begins with http"),
    ],
)
def test_wrong_values_are_refused(written: dict[str, Any], words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words) as caught:
        opener("iron_mq", **written)()

    assert "hush" not in str(caught.value)


def test_irons_environment_and_its_file_fill_in_what_is_not_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "iron.json"
    file.write_text(json.dumps({"token": "of all", "project_id": "of the file", "iron_mq": {"token": "of the file"}}))
    monkeypatch.setenv("IRON_TOKEN", "of the environment")
    monkeypatch.setenv("IRON_HOST", "of all")
    monkeypatch.setenv("IRON_MQ_HOST", "of the environment")

    options = IronOptions.of({"config_file": str(file), "project_id": "written"})

    assert fields(options, "project_id", "token", "host") == {
        "project_id": "written",
        "token": "of the file",
        "host": "of the environment",
    }
    assert IronOptions.of({"project_id": "p"}).token == "of the environment"


def test_a_cloud_is_protocol_host_port_and_prefix_in_one_url() -> None:
    options = IronOptions.of({**WRITTEN, "host": "h", "port": 1, "cloud": "http://mq.example:8080/a/b/"})
    plain = IronOptions.of({**WRITTEN, "path_prefix": "a/"})

    assert fields(options, "protocol", "host", "port", "path_prefix") == {
        "protocol": "http",
        "host": "mq.example",
        "port": 8080,
        "path_prefix": "/a/b",
    }
    assert (plain.host, plain.path_prefix) == (HOST, "/a")
    assert IronOptions.of({**WRITTEN, "cloud": "https://mq.example"}).port == 443


@pytest.mark.parametrize("way", ["path_prefix", "cloud"])
def test_a_service_behind_a_prefix_is_reached(ironmq_server: IronServer, way: str) -> None:
    place = {"path_prefix": "/behind"}
    if way == "cloud":
        place = {"cloud": f"http://127.0.0.1:{ironmq_server.port}/behind", "host": "nowhere.invalid"}
    broker = opener("iron_mq", **{**ironmq_server.options, **place})()

    broker.enqueue(messages("one"))

    assert payloads(lease_all(broker, 1)) == ["one"]


def tokens(server: IronServer, verb: str = "GET") -> int:
    """How many tokens its Keystone has given; ``DELETE`` revokes them."""
    return int(urllib3.request(verb, f"http://127.0.0.1:{server.port}/v2.0/tokens").json()["given"])


@pytest.mark.parametrize(("tenant", "asked_again"), [("long", 0), ("short", 2)])
def test_keystone_gives_a_token_that_is_used_until_shortly_before_its_end(
    own_server: IronServer, tenant: str, asked_again: int
) -> None:
    server = f"http://127.0.0.1:{own_server.port}/v2.0/"
    keystone = {**KEYSTONE, "server": server, "tenant": tenant, "password": "password"}
    broker = opener("iron_mq", **{**own_server.options, "token": None, "keystone": keystone})()
    broker.prepare()
    given = tokens(own_server)

    broker.ping()
    broker.ping()

    assert tokens(own_server) == given + asked_again
    assert "password" not in repr(broker) + repr(IronOptions.of({**WRITTEN, "keystone": keystone}))


def test_a_token_that_was_revoked_is_replaced_once_and_a_wrong_password_is_refused(own_server: IronServer) -> None:
    keystone = {**KEYSTONE, "server": f"http://127.0.0.1:{own_server.port}/v2.0", "password": "password"}
    broker = opener("iron_mq", **{**own_server.options, "keystone": keystone})()
    broker.prepare()
    tokens(own_server, "DELETE")

    broker.enqueue(messages("one"))

    assert payloads(lease_all(broker, 1)) == ["one"]
    assert tokens(own_server) == 2
    wrong = opener("iron_mq", **{**own_server.options, "keystone": {**keystone, "password": "hush"}})()
    with pytest.raises(BrokerRefused, match=r"Keystone at .* does not let us in: 401") as caught:
        wrong.ping()
    assert "hush" not in str(caught.value)


def test_the_token_is_not_shown(ironmq_server: IronServer) -> None:
    section = BrokerSettings(kind="iron_mq", options=ironmq_server.options)
    broker = IronMQBroker(section)

    assert ironmq_server.token not in repr(section) + repr(broker) + broker.info() + repr(IronOptions.of(WRITTEN))


def test_a_wrong_token_is_refused_and_not_shown(ironmq_server: IronServer) -> None:
    broker = opener("iron_mq", **{**ironmq_server.options, "token": "wrong hush"})()

    with pytest.raises(BrokerRefused, match=r"does not let us in.*401") as caught:
        broker.enqueue(messages("one"))

    assert "hush" not in str(caught.value)


def test_a_reservation_is_never_shorter_than_the_service_allows(own_server: IronServer) -> None:
    fitting = opener("iron_mq", **{**own_server.options, "minimum_timeout": 30})(lease=2)
    fitting.enqueue(messages("one"))
    short = opener("iron_mq", **{**own_server.options, "minimum_timeout": 1})(lease=2)
    short.enqueue(messages("one"))

    assert payloads(fitting.lease(1)) == ["one"]
    with pytest.raises(BrokerRefused, match="Timeout must be between 30"):
        short.lease(1)


# -- queues ---------------------------------------------------------------------------------------


def test_the_queue_is_created_for_messages_that_live_thirty_days(broker: Broker, ironmq_server: IronServer) -> None:
    broker.enqueue(messages("one"))

    queue = asked(ironmq_server, f"/queues/{hyphenated_name('tests', broker.queue)}")["queue"]
    assert (queue["type"], queue["message_expiration"]) == ("pull", 30 * 86_400)


def test_a_queue_that_somebody_has_deleted_is_created_again(own_server: IronServer) -> None:
    broker = opener("iron_mq", **{**own_server.options, "minimum_timeout": 30})()
    broker.enqueue(messages("lost with the memory of the service"))

    own_server.restart()

    assert list(broker.lease(1)) == []
    broker.enqueue(messages("one"))
    assert payloads(broker.lease(1)) == ["one"]


def test_a_batch_is_parted_by_number_and_by_size(broker: IronMQBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    broker.prepare()
    call, sizes = broker._connection.call, []

    def count(verb: str, path: str, body: dict[str, Any]) -> Any:
        sizes.append(len(body["messages"]))
        return call(verb, path, body)

    monkeypatch.setattr(broker._connection, "call", count)

    broker.enqueue(messages(*"x" * 250))
    broker.enqueue(messages(*["x" * (MAX_BYTES // 3)] * 5))
    monkeypatch.undo()

    assert sizes == [100, 100, 50, 2, 2, 1]


def test_a_service_that_hangs_is_noticed_in_time(own_server: IronServer) -> None:
    broker = opener("iron_mq", **own_server.options)()
    broker.prepare()
    started = time.monotonic()

    with own_server.paused(), pytest.raises(BrokerUnavailable):
        broker.enqueue(messages("one"))

    assert time.monotonic() - started < 30  # a call waits for five seconds, and is tried twice at most


def test_a_service_that_becomes_unavailable_between_two_calls_says_how_many_were_sent(own_server: IronServer) -> None:
    broker = opener("iron_mq", **own_server.options)()
    broker.prepare()
    assert isinstance(broker, IronMQBroker)
    call = broker._connection.call
    calls: list[tuple[Any, ...]] = []

    def call_and_die(*values: Any, **keywords: Any) -> Any:
        if calls:
            own_server.kill()
        calls.append(values)
        return call(*values, **keywords)

    setattr(broker._connection, "call", call_and_die)  # noqa: B010

    with pytest.raises(BrokerUnavailable) as caught:
        broker.enqueue(messages(*map(str, range(150))))

    assert caught.value.__notes__ == ["100 of 150 messages had been sent before."]


# -- reservations ---------------------------------------------------------------------------------


def test_a_receipt_outlives_the_names_of_its_reservations(broker: Broker) -> None:
    broker.enqueue(messages("1", "2"))
    done, back = receipts(broker.lease(2))
    for _ in range(3):
        assert list(broker.renew([done, back])) == []

    broker.acknowledge([done])
    broker.release(deliveries_of([back]))

    assert payloads(broker.lease(10)) == ["2"]


def test_one_that_is_lost_does_not_keep_a_batch_from_being_acknowledged(open_another: Opener) -> None:
    broker, other = open_another(lease=60), open_another(lease=60)
    broker.enqueue(messages("1", "2", "3"))
    held = receipts(broker.lease(3))
    other.acknowledge(held[1:2])  # its name has not changed yet

    broker.acknowledge(held)

    assert broker.size().total == 0


def test_a_successor_claims_what_its_predecessor_had_prolonged(open_another: Opener) -> None:
    predecessor, successor = open_another(lease=1), open_another(lease=1)
    predecessor.enqueue(messages("runs"))
    held = receipts(predecessor.lease(1))
    predecessor.renew(held)  # and dies

    assert list(successor.renew(held)) == []
    eventually(lambda: list(successor.lease(1)) == [] and successor.size().leased == 1)

    successor.acknowledge(held)
    assert successor.size().total == 0


def test_what_was_done_meanwhile_is_deleted_when_it_comes(open_another: Opener) -> None:
    predecessor, successor = open_another(lease=1), open_another(lease=1)
    predecessor.enqueue(messages("done"))
    held = receipts(predecessor.lease(1))
    predecessor.renew(held)  # and dies
    successor.renew(held)

    successor.acknowledge(held)

    assert list(successor.renew(held)) == held
    eventually(lambda: list(successor.lease(1)) == [] and successor.size().total == 0)


def test_what_is_gone_is_not_claimed(broker: Broker, open_another: Opener) -> None:
    other = open_another()
    other.enqueue(messages("one"))
    held = receipts(other.lease(1))
    other.acknowledge(held)

    assert list(broker.renew(held)) == held


def test_what_a_predecessor_had_not_prolonged_is_released_immediately(open_another: Opener) -> None:
    predecessor, successor = open_another(lease=60), open_another(lease=60)
    predecessor.enqueue(messages("one"))
    held = receipts(predecessor.lease(1))

    successor.release(deliveries_of(held))

    assert payloads(lease_all(successor, 1)) == ["one"]


def test_of_what_a_predecessor_had_prolonged_no_copy_is_sent(open_another: Opener) -> None:
    predecessor, successor = open_another(lease=1), open_another(lease=1)
    predecessor.enqueue(messages("one"))
    held = predecessor.lease(1)
    predecessor.renew(receipts(held))  # and dies

    successor.release(held, refund_attempt=True)

    assert successor.size().total == 1
    assert [(each.payload, each.attempt) for each in lease_all(successor, 1)] == [("one", 2)]
    assert successor.size().total == 1


def test_a_copy_that_was_sent_is_not_sent_again(broker: IronMQBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    broker.enqueue(messages("1", "2"))
    held = lease_all(broker, 2)

    def be_away(reserved: dict[str, str]) -> bool:
        raise BrokerUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(broker._connection, "forget", be_away)
        with pytest.raises(BrokerUnavailable):
            broker.release(held, refund_attempt=True)
    assert broker.size().total == 4
    broker.release(held, refund_attempt=True)

    assert broker.size().total == 2
    assert {each.attempt for each in lease_all(broker, 2)} == {1}
