"""Tasks that are given credentials, and say too much when they fail."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.test import override_settings

from django_cluster.models import Task
from django_cluster.tasks import async_task

SECRET = "hush-4711"


@dataclass
class Card:
    holder: str
    secret_number: str


def log_in(user: str, password: str, *others: Any, **more: Any) -> None:
    raise ConnectionError(
        f"no answer from redis://{user}:{password}@db:1/0 (password={password!r}, Authorization: Bearer {password})"
    )


def token_of(user: str, **more: Any) -> dict[str, Any]:
    return {"user": user, "auth_token": SECRET, "cards": [Card(user, SECRET)]}


def run(func: Any, *args: Any, **kwargs: Any) -> Task:
    """The row of a task that has run here, in this process."""
    before = set(Task.objects.values_list("pk", flat=True))
    with override_settings(Q_CLUSTER={"name": "tests", "sync": True}), suppress(ConnectionError):
        async_task(func, *args, **kwargs)
    return Task.objects.exclude(pk__in=before).get()


def failed() -> Task:
    """A failure of which everything holds the secret: each kind of argument, the error and its traceback."""
    url = f"amqp://shop:{SECRET}@rabbit:5672//"
    nested = {"deep": [{"api_key": SECRET, "size": 3}], "card": Card("bob", SECRET)}
    return run(log_in, "bob", SECRET, nested, url, client_secret=SECRET, colour="green")
