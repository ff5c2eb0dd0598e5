"""Durable blocks in tasks that a ``TestCase`` runs."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group
from django.db import transaction
from django.test import TestCase, override_settings

from django_cluster.tasks import async_task
from django_cluster.testing import run_pending
from django_cluster.testing.drain import drain

IN_MEMORY: dict[str, Any] = {"name": "tests", "broker": "memory"}


def pay() -> None:
    """What Django allows in a ``TestCase``, as if there were no transaction around it."""
    with transaction.atomic(durable=True):
        Group.objects.create(name="paid")


class DurableTests(TestCase):
    def test_run_pending(self) -> None:
        async_task(pay)

        assert len(run_pending()) == 1
        assert Group.objects.filter(name="paid").exists()

    def test_drain(self) -> None:
        async_task(pay, q_options={"on_commit": False})

        assert len(drain()) == 1
        assert Group.objects.filter(name="paid").exists()


@override_settings(Q_CLUSTER=IN_MEMORY)
class TestWithAQueueInMemory(DurableTests):
    """The same for a queue outside of the database."""
