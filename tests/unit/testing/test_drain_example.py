"""The example of docs/how-to/test-your-tasks.md, which shows the part between the two marks."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group
from django.db import transaction
from django.test import TestCase, override_settings

from django_cluster.tasks import async_task, result
from django_cluster.testing.drain import assert_enqueued, drain, forget_enqueued, run_tasks
from tests.sample.tasks import echo as send_greeting


def sign_up(name: str) -> None:
    """What a view would do."""
    with transaction.atomic():
        group = Group.objects.create(name=name)
        async_task(send_greeting, group.pk, language="fr")


# example begins
class SignUpTests(TestCase):
    def setUp(self) -> None:
        forget_enqueued()

    def test_signing_up_queues_a_greeting(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            sign_up("Ada")

        assert_enqueued(send_greeting, kwargs={"language": "fr"})

    def test_the_greeting_is_sent(self) -> None:
        with run_tasks() as ids:
            sign_up("Ada")

        assert result(ids[0]) is not None

    def test_the_greeting_speaks_french(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            task_id = async_task(send_greeting, 7, language="fr")
        drain()

        assert result(task_id) == ((7,), {"language": "fr"})


# example ends


IN_MEMORY: dict[str, Any] = {"name": "tests", "broker": "memory"}


@override_settings(Q_CLUSTER=IN_MEMORY)
class TestWithAQueueInMemory(SignUpTests):
    """The example holds for a queue in the database and for one outside of it."""
