"""Messages of those who can write to the broker, and do not hold the key."""

from __future__ import annotations

import base64
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from django_cluster import async_task
from django_cluster.brokers import memory, open_broker
from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message
from django_cluster.brokers.sqs_options import SqsOptions
from django_cluster.client.client import get_client
from django_cluster.client.retries import retry
from django_cluster.core.codec import Codec
from django_cluster.core.messages import TaskHeader, TaskPackage
from django_cluster.core.queue_names import (
    delay_queue_in_table,
    hyphenated_name,
    join_escaped,
    parse_queue_name,
    table_queue_name,
)
from django_cluster.core.settings import BrokerSettings, SigningSettings
from django_cluster.errors import BadSignature, PackageError
from django_cluster.lifecycle.queue_transfer import QueueTransfer
from django_cluster.models import QueuedTask, Task
from django_cluster.models.row_signing import row_signer
from tests.sample import tasks
from tests.sealed import sealed_arguments, sealed_result
from tests.security.conftest import Project, run_all

pytestmark = pytest.mark.django_db

PAIRS = [("a", "b:c"), ("a:b", "c"), ("a", "b%3Ac"), ("a%3Ab", "c"), ("a", "b-c"), ("a-b", "c"), ("a-b-c", "a-b-c"),
         ("a.b", "c"), ("a", "b.c"), ("a", "a"), ("a:a", "a:a"), ("b", "a"), ("a{b}", "c"), ("a", "{b}c")]  # fmt: skip


class Toucher:
    """A pickle of this touches a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def package(**changes: Any) -> TaskPackage:
    header = {"id": "a" * 32, "name": "x", "func": "tests.sample.tasks.nothing", "enqueued_at": time.time(), **changes}
    return TaskPackage(header=TaskHeader(**header))


def waiting() -> str:
    return QueuedTask.objects.get().payload


# ── moved, changed, cut ──────────────────────────────────────────────────────────────────────────


def test_a_message_that_was_copied_into_another_queue_is_not_run_there() -> None:
    async_task(tasks.nothing)
    other = get_client("other")
    other.broker.enqueue([Message(waiting())])

    (delivery,) = other.broker.lease(1)

    with pytest.raises(BadSignature):
        other.codec.verify(delivery.payload)


@pytest.mark.parametrize("one", PAIRS)
def test_a_signature_holds_for_one_site_and_one_queue(one: tuple[str, str]) -> None:
    text = codec_of(one).dumps(package())

    assert codec_of(one).loads(text) == codec_of(one).loads(text)
    for other in PAIRS:
        if other != one:
            with pytest.raises(BadSignature):
                codec_of(other).verify(text)


def codec_of(pair: tuple[str, str]) -> Codec:
    return Codec(SigningSettings(secret="a secret", salt=pair[0], queue=pair[1]))


def test_qmove_signs_for_the_queue_into_which_it_moves_and_only_what_is_ours() -> None:
    source, target = get_client().broker, get_client("other").broker
    async_task(tasks.echo, 1)
    source.enqueue([Message(codec_of(("tests", "tests")).dumps(package()))])
    codec = get_client().codec

    QueueTransfer(source, target, signed=lambda text: codec.signed_for(text, "other")).run()

    ours, strange = (each.payload for each in target.lease(2))
    assert get_client("other").codec.loads(ours).args == (1,)
    with pytest.raises(BadSignature):
        get_client("other").codec.verify(strange)


@pytest.mark.parametrize("cut", [1, 5, 44, 60, -1, -10])
def test_a_message_that_was_cut_or_changed_is_never_opened(cut: int) -> None:
    async_task(tasks.nothing)
    text, codec = waiting(), get_client().codec

    for changed in (text[:cut], text[cut:], text.replace("dc1p", "dc1j"), text[:20] + "A" + text[21:]):
        with pytest.raises(PackageError):
            codec.verify(changed)


# ── sites and queues on one server ───────────────────────────────────────────────────────────────


def test_no_two_pairs_have_one_name_on_any_server() -> None:
    names: list[Any] = [
        lambda site, queue: join_escaped(site, queue),
        lambda site, queue: join_escaped(site, queue, separator="."),
        lambda site, queue: join_escaped(site, queue, reserved="{}"),
        hyphenated_name,
        table_queue_name,
        lambda site, queue: delay_queue_in_table(site, "", queue),
        SqsOptions().queue_name,
    ]
    for name in names:
        assert len({name(*pair) for pair in PAIRS}) == len(PAIRS)


@pytest.mark.parametrize("pair", PAIRS)
def test_the_queue_can_be_read_from_its_name_in_the_table(pair: tuple[str, str]) -> None:
    assert parse_queue_name(table_queue_name(*pair)) == pair[1]
    assert parse_queue_name(delay_queue_in_table(pair[0], "an:alias", pair[1])) == pair[1]


SERVERS: dict[str, tuple[str, Callable[[Any], dict[str, Any]]]] = {
    "redis": ("redis_server", lambda server: {"url": server.url}),
    "sqs": ("sqs_server", lambda server: server.options),
    "rabbitmq": ("rabbitmq_server", lambda server: {"url": server.url}),
    "mongo": ("nx_server", lambda server: {"kwargs": {"host": server.url}, "database": "tests"}),
    "iron_mq": ("ironmq_server", lambda server: server.options),
    "disque": ("disque_server", lambda server: server.options),
}
"""Kind of broker → the fixture of its server, and the options that lead to it."""


@pytest.fixture(params=["orm", "memory", *SERVERS])
def kind(request: pytest.FixtureRequest) -> dict[str, Any]:
    memory.reset()
    if request.param in SERVERS:
        fixture, options_of = SERVERS[request.param]
        return {"kind": request.param, "options": options_of(request.getfixturevalue(fixture))}
    return {"kind": request.param, "options": {"alias": "default"} if request.param == "orm" else {}}


def test_namespaces_on_one_server_share_no_message(kind: dict[str, Any]) -> None:
    brokers = [open_broker(BrokerSettings(**kind, name=name, queue=queue)) for name, queue in PAIRS]
    for broker in brokers:
        if kind["kind"] != "orm":  # its table is there, and the test is in a transaction
            broker.prepare()
        broker.purge()
    for number, broker in enumerate(brokers):
        broker.enqueue([Message(f"message {number}")])

    leased = [[*broker.lease(10, wait=5.0), *broker.lease(10)] for broker in brokers]

    payloads = [[each.payload for each in deliveries] for deliveries in leased]
    assert payloads == [[f"message {number}"] for number in range(len(PAIRS))]
    if brokers[0].capabilities.peek and kind["kind"] != "memory":
        assert [name for name in names_of(brokers[0]) if name not in ("b:c", "b%3Ac", "b-c", "b.c", "a", "{b}c")] == []
    for broker, deliveries in zip(brokers, leased, strict=True):
        broker.acknowledge([each.receipt for each in deliveries])
        if kind["kind"] != "orm":
            broker.close()


def names_of(broker: Broker) -> list[str]:
    return list(broker.queue_names())


# ── old messages ─────────────────────────────────────────────────────────────────────────────────


def send_aged(seconds: float, **options: Any) -> None:
    client = get_client()
    aged = package(enqueued_at=time.time() - seconds).with_options(**options)
    client.broker.enqueue([Message(client.codec.dumps(aged))])


def test_an_old_message_is_put_aside_and_can_be_sent_again(project: Project) -> None:
    project(max_message_age=60)
    send_aged(61)

    (row,) = run_all()
    assert (row.status, row.final) == ("rejected", True)
    assert "max_message_age is 60" in row.error_message

    retry(row)
    assert [each.status for each in run_all()] == ["success"]


@pytest.mark.parametrize(("age", "options"), [(59, {}), (10**6, {"not_before": time.time() - 1})])
def test_the_age_counts_from_the_sending_or_the_due_time(project: Project, age: float, options: Any) -> None:
    project(max_message_age=3600)
    send_aged(age, **options)

    assert [row.status for row in run_all()] == ["success"]


def test_without_the_setting_no_message_is_too_old() -> None:
    send_aged(10**8)

    assert [row.status for row in run_all()] == ["success"]


# ── no pickle ────────────────────────────────────────────────────────────────────────────────────


def test_with_json_no_pickle_is_opened_even_if_we_have_signed_it(project: Project, tmp_path: Path) -> None:
    trap = tmp_path / "touched"
    async_task(tasks.echo, Toucher(trap))
    Task.objects.create(**row_with_a_pickle(trap))
    project(serializer="json")

    (row,) = run_all()
    assert (row.status, trap.exists()) == ("rejected", False)
    assert "serializer = 'json'" in row.error_message
    for look in (lambda: Task.objects.get(pk="b" * 32).result, lambda: Task.objects.get(pk="b" * 32).args):
        with pytest.raises(PackageError, match="json"):
            look()
    assert not trap.exists()


def row_with_a_pickle(trap: Path) -> dict[str, Any]:
    now, call = timezone.now(), {"id": "b" * 32, "func": "tests.sample.tasks.echo"}
    arguments = sealed_arguments(((Toucher(trap),), {}), queue="tests", success=True, **call)  # type: ignore[arg-type]
    return {
        **call, "name": "x", "status": "success", "success": True, "queue": "tests",
        "enqueued_at": now, "started_at": now, "stopped_at": now,
        "sealed_arguments": arguments, "sealed_result": sealed_result(Toucher(trap), call["id"]),
    }  # fmt: skip


def test_a_pickle_that_nobody_has_signed_is_opened_under_no_setting(tmp_path: Path) -> None:
    trap = tmp_path / "touched"
    data = pickle.dumps(((Toucher(trap),), {}))
    codec = get_client().codec
    text = codec.dumps(package())
    head, _, signature = text.split(":")
    header = base64.b64decode(text.split(":")[1]).partition(b"\n")[0]
    body = base64.b64encode(header + b"\n" + data).decode()

    with pytest.raises(BadSignature):
        codec.verify(f"{head}:{body}:{signature}")
    for sealed in (b"P" + bytes(32) + data, b"P" + data):
        with pytest.raises(PackageError):
            row_signer().loads(sealed, b"result:x")

    assert not trap.exists()
