"""The page of the queues: the same for a table, for Redis and for a broker in memory."""

from __future__ import annotations

import base64
import html
import json
import re
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_cluster import control
from django_cluster.brokers import memory
from django_cluster.brokers.base import Broker
from django_cluster.brokers.messages import Message, QueueSize
from django_cluster.brokers.redis import RedisBroker
from django_cluster.client.client import get_client
from django_cluster.core.messages import TaskHeader, TaskPackage
from django_cluster.models import QueuedTask
from tests.integration.admin_client import message, page, person, queue_one
from tests.servers import RedisServer

pytestmark = pytest.mark.django_db

URL_NAME = "queuedtask_changelist"
URL = f"admin:django_cluster_{URL_NAME}"


@pytest.fixture(params=["orm", "memory", "redis"])
def broker(request: pytest.FixtureRequest, settings: Any) -> Broker:
    """The broker of the site, empty."""
    cluster: dict[str, Any] = {"name": f"queue-{uuid4().hex}", "ALT_CLUSTERS": {"slow": {}}}
    if request.param == "redis":
        server: RedisServer = request.getfixturevalue("redis_server")
        settings.Q_CLUSTER = {**cluster, "redis": server.url}
    elif request.param == "orm":
        settings.Q_CLUSTER = {**cluster, "orm": "default"}
    else:
        memory.reset()
        settings.Q_CLUSTER = {**cluster, "broker": "memory"}
    return get_client().broker


def cancel(client: Client, *keys: str, **more: str) -> str:
    response = client.post(reverse(URL), {"_selected_action": keys, **more}, follow=True)
    return response.content.decode()


def keys(broker: Broker) -> list[str]:
    return [each.key for each in broker.peek(10)]


def test_an_empty_queue_says_so(broker: Broker, admin_client: Client) -> None:
    assert "The queue is empty." in page(admin_client, "queuedtask_changelist")


def test_what_waits_is_shown_without_being_taken_or_trusted(broker: Broker, admin_client: Client) -> None:
    broker.enqueue([Message(message("first", priority=5), 5), Message(message("second"), 0, 4_000_000_000.0)])
    broker.enqueue([Message("garbage")])

    text = page(admin_client, "queuedtask_changelist")

    for word in ("first", "second", "tests.sample.tasks.add", "primes", "f" * 32, "*unreadable", "delayed"):
        assert word in text
    assert broker.size().total == 3


def test_what_is_lent_cannot_be_chosen(broker: Broker, admin_client: Client) -> None:
    broker.enqueue([Message(message("first"))])
    broker.lease(1)

    text = page(admin_client, "queuedtask_changelist")

    assert "leased" in text
    assert 'type="checkbox"' not in text


def test_a_message_is_withdrawn_after_a_question(broker: Broker, admin_client: Client) -> None:
    broker.enqueue([Message(message("first")), Message(message("second"))])
    key = keys(broker)[0]

    asked = cancel(admin_client, key)
    before = broker.size().total
    done = cancel(admin_client, key, confirmed="yes")

    assert "first: tests.sample.tasks.add" in asked
    assert before == 2
    assert "1 task was cancelled." in done
    assert "second" in page(admin_client, "queuedtask_changelist")
    assert broker.size().total == 1


def test_what_is_gone_already_is_said(broker: Broker, admin_client: Client) -> None:
    assert "The others were already running or finished." in cancel(admin_client, "a" * 40, confirmed="yes")
    assert "No task was selected." in cancel(admin_client)


def test_every_queue_of_the_project_can_be_looked_into(broker: Broker, admin_client: Client) -> None:
    get_client("slow").broker.enqueue([Message(message("for the slow one"))])

    assert "for the slow one" not in page(admin_client, "queuedtask_changelist")
    assert "for the slow one" in page(admin_client, "queuedtask_changelist", queue="slow")
    assert "The queue is empty." in page(admin_client, "queuedtask_changelist", queue="no such queue")


def test_who_may_only_look_withdraws_nothing(broker: Broker, client: Client) -> None:
    person(client, "view_queuedtask")
    broker.enqueue([Message(message("first"))])

    assert 'type="checkbox"' not in page(client, "queuedtask_changelist")
    assert client.post(reverse(URL), {"_selected_action": keys(broker), "confirmed": "yes"}).status_code == 403
    assert broker.size().total == 1


def test_who_may_not_look_sees_nothing(broker: Broker, client: Client) -> None:
    person(client)

    assert client.get(reverse(URL)).status_code == 403


def test_a_server_that_is_away_is_a_sentence(settings: Any, admin_client: Client) -> None:
    settings.Q_CLUSTER = {"name": "away", "redis": {"unix_socket_path": "/nowhere/redis.sock"}}

    assert "The broker does not answer:" in page(admin_client, "queuedtask_changelist")


# ── what nobody could show ───────────────────────────────────────────────────────────────────────

HALF = json.loads('"\\ud83d"')


def with_half_a_pair(where: str) -> str:
    options: dict[str, Any] = {where: f"x{HALF}y"}
    return message(**options)


@pytest.mark.parametrize("where", ["name", "group", "hook", "queue"])
def test_a_label_that_cannot_be_encoded_breaks_no_page(where: str, broker: Broker, admin_client: Client) -> None:
    nasty = with_half_a_pair(where)
    assert "\\ud83d" in base64.b64decode(nasty.split(":")[1]).decode()
    broker.enqueue([Message(nasty), Message(message("an ordinary one"))])

    text = page(admin_client, "queuedtask_changelist")

    assert "an ordinary one" in text
    assert text.count("tests.sample.tasks.add") == 2


@pytest.mark.parametrize("where", ["name", "group", "hook", "queue"])
def test_a_row_whose_label_cannot_be_encoded_breaks_no_page(where: str, admin_client: Client) -> None:
    row = queue_one(with_half_a_pair(where))
    queue_one(message("an ordinary one"), due=9_000_000_000_000_000_000, lane=QueuedTask.NOT_READY_LANE)
    queue_one("dc1p:garbage", due=-9_000_000_000_000_000_000)

    text = page(admin_client, "queuedtask_changelist")

    assert "an ordinary one" in text
    assert "x?y" in page(admin_client, "queuedtask_change", row.pk)


# ── one message ──


def links(text: str) -> list[str]:
    """The addresses of the pages of messages."""
    return re.findall(r'<th scope="row"><a href="(/admin/[^"]+)"', text)


def test_each_message_has_a_page_with_its_arguments(broker: Broker, admin_client: Client) -> None:
    header = TaskHeader(id="e" * 32, name="ours", func="tests.sample.tasks.add", enqueued_at=1_700_000_000.0)
    ours = get_client().codec.dumps(TaskPackage(header=header, args=(4401,), kwargs={"shop": "north"}))
    broker.enqueue([Message(ours, 5), Message(message("theirs"))])

    pages = [html.unescape(admin_client.get(link).content.decode()) for link in links(page(admin_client, URL_NAME))]

    assert len(pages) == 2
    assert "(4401,)" in pages[0]
    assert "{'shop': 'north'}" in pages[0]
    assert "e" * 32 in pages[0]
    assert ">ready<" in pages[0]
    assert "This value can no longer be read." in pages[1]


def test_the_page_of_a_message_that_is_gone_leads_back(broker: Broker, admin_client: Client) -> None:
    broker.enqueue([Message(message("gone"))])
    (link,) = links(page(admin_client, URL_NAME))
    broker.purge()

    assert admin_client.get(link).status_code == 302
    assert admin_client.get(link.replace("/change/", "x/change/")).status_code == 302


def test_arguments_of_a_message_take_a_permission(broker: Broker, client: Client) -> None:
    person(client, "view_queuedtask")
    header = TaskHeader(id="e" * 32, name="ours", func="tests.sample.tasks.add", enqueued_at=1.0)
    broker.enqueue([Message(get_client().codec.dumps(TaskPackage(header=header, args=(440144,))))])

    (link,) = links(page(client, URL_NAME))
    text = client.get(link).content.decode()

    assert "ours" in text
    assert "440144" not in text


# ── all queues ───────────────────────────────────────────────────────────────────────────────────


def line_of(text: str, queue: str) -> list[str]:
    """The cells of a queue: name, broker, ready, leased, delayed, state."""
    rows = [
        re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in re.findall(r"<tr>.*?</tr>", text, re.DOTALL)
    ]
    plain = [[re.sub("<[^>]+>", "", cell).strip() for cell in row] for row in rows]
    return next(row for row in plain if row and row[0] == queue)


def test_each_queue_has_a_line_with_its_sizes_and_its_state(broker: Broker, admin_client: Client) -> None:
    get_client("slow").broker.enqueue([Message(message())] * 3)
    broker.enqueue([Message(message("later"), 0, 4_000_000_000.0), Message(message()), Message(message())])
    broker.lease(1)
    control.pause("slow", by="ada")

    text = page(admin_client, "queuedtask_changelist")

    kind = broker.settings.kind
    assert line_of(text, broker.queue) == [broker.queue, kind, "1", "1", "1", "no cluster"]
    assert line_of(text, "slow")[:5] == ["slow", kind, "3", "0", "0"]
    assert re.fullmatch("paused .* by ada", line_of(text, "slow")[5])


def test_a_queue_that_only_its_pause_names_can_be_looked_into(broker: Broker, admin_client: Client) -> None:
    control.pause("forgotten")

    text = page(admin_client, "queuedtask_changelist", queue="forgotten")

    assert "forgotten" in line_of(text, "forgotten")[0]
    assert "The queue is empty." in text


def test_figures_of_a_server_that_is_away_are_question_marks_and_it_is_asked_once(
    settings: Any, admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.Q_CLUSTER = {
        **{"name": "away", "redis": {"unix_socket_path": "/nowhere/redis.sock"}},
        "ALT_CLUSTERS": {"slow": {}, "table": {"orm": "default"}},
    }
    asked: list[str] = []
    size = RedisBroker.size

    def asked_for_size(broker: RedisBroker) -> QueueSize:
        asked.append(broker.queue)
        return size(broker)

    monkeypatch.setattr(RedisBroker, "size", asked_for_size)

    text = page(admin_client, "queuedtask_changelist")

    assert line_of(text, "away")[2:] == ["?", "?", "?", "unavailable"]
    assert line_of(text, "slow")[2:] == ["?", "?", "?", "unavailable"]
    assert line_of(text, "table")[1:5] == ["orm", "0", "0", "0"]
    assert asked == [], "the first question, for the names of queues, has told it"


def test_the_page_costs_the_same_however_much_waits(admin_client: Client) -> None:
    def questions() -> int:
        with CaptureQueriesContext(connection) as captured:
            page(admin_client, "queuedtask_changelist")
        return len(captured)

    queue_one()
    few = questions()
    for _ in range(30):
        queue_one()

    assert questions() == few <= 12
