"""What the tests of the admin share: rows, pages, actions, and people with few permissions."""

from __future__ import annotations

import html
from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from django_cluster.core.codec import Codec
from django_cluster.core.messages import Outcome, TaskHeader, TaskOptions, TaskPackage
from django_cluster.core.settings import ResultSettings, SigningSettings
from django_cluster.models import QueuedTask
from django_cluster.stores.orm import OrmResults


class Unfriendly:
    """A value whose own methods raise."""

    def __repr__(self) -> str:
        raise RuntimeError("never show me")


def save(*outcomes: Outcome) -> None:
    OrmResults(ResultSettings(save_limit=0)).save(outcomes)


def page(client: Client, name: str, *args: object, **query: str) -> str:
    response = client.get(reverse(f"admin:django_cluster_{name}", args=args), query)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def act(client: Client, name: str, action: str, *ids: object, **more: str) -> str:
    """What the page says after an action, its confirmation included where ``confirmed="yes"``."""
    url = reverse(f"admin:django_cluster_{name}_changelist")
    response = client.post(url, {"action": action, "_selected_action": ids, **more}, follow=True)
    if response.streaming:
        return b"".join(response.streaming_content).decode()  # type: ignore[attr-defined]  # a streaming one has it
    return html.unescape(response.content.decode())


def message(name: str = "the name", args: tuple[Any, ...] = (), **options: Any) -> str:
    """A message whose label can be read, and whose signature nobody here can verify."""
    header = TaskHeader(
        id="f" * 32,
        name=name,
        func="tests.sample.tasks.add",
        enqueued_at=1.0,
        options=TaskOptions(**{"group": "primes", **options}),
    )
    return Codec(SigningSettings(secret="another key than ours")).dumps(TaskPackage(header=header, args=args))


def queue_one(payload: str = "", **changes: Any) -> QueuedTask:
    payload = payload or message(args=(Unfriendly(),))
    return QueuedTask.objects.create(**{"queue": "tests", "due": 1_700_000_000_000_000, "payload": payload, **changes})


def person(client: Client, *permissions: str) -> Client:
    """The client, as a member of staff who may do this, and nothing else."""
    user = User.objects.create_user("person", password="x", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    assert user.user_permissions.count() == len(permissions)
    client.force_login(user)
    return client
