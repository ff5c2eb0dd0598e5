"""The tasks and the code of the shop whose tests docs/how-to/test-your-tasks.md shows."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import Group
from django.db import transaction

from django_cluster import task

charged: list[int] = []


@task
def send_greeting(customer: int, language: str = "en") -> str:
    return f"{'Bonjour' if language == 'fr' else 'Hello'}, {Group.objects.get(pk=customer).name}"


@task
def ask_for_feedback(customer: int) -> None:
    """Is sent a week later."""


@task(max_attempts=3, retry_delay=60)
def charge(order: int) -> str:
    charged.append(order)
    return "paid"


def sign_up(name: str) -> int:
    """What a view would do."""
    with transaction.atomic():
        customer = Group.objects.create(name=name)
        send_greeting.delay(customer.pk, language="fr")
        ask_for_feedback.using(delay=timedelta(days=7)).delay(customer.pk)
    return customer.pk
