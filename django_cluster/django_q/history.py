"""The tables of Django-Q as its migrations made them: what projects' own migrations may have met."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models
from django.utils import timezone


def schedule_fields() -> list[tuple[str, models.Field[Any, Any]]]:
    """The columns of the first version."""
    return [
        ("id", models.AutoField(primary_key=True)),
        ("func", models.CharField(max_length=256)),
        ("hook", models.CharField(max_length=256, null=True, blank=True)),
        ("args", models.TextField(null=True, blank=True)),
        ("kwargs", models.TextField(null=True, blank=True)),
        ("schedule_type", models.CharField(max_length=2, default="O")),
        ("repeats", models.IntegerField(default=-1)),
        ("next_run", models.DateTimeField(default=timezone.now, null=True)),
        ("task", models.CharField(max_length=100, null=True)),
    ]


def task_fields() -> list[tuple[str, models.Field[Any, Any]]]:
    """The columns of the first version, with the key of the third; pickles are text."""
    return [
        ("id", models.CharField(max_length=32, primary_key=True)),
        ("name", models.CharField(max_length=100)),
        ("func", models.CharField(max_length=256)),
        ("hook", models.CharField(max_length=256, null=True)),
        ("args", models.TextField(null=True)),
        ("kwargs", models.TextField(null=True)),
        ("result", models.TextField(null=True)),
        ("started", models.DateTimeField()),
        ("stopped", models.DateTimeField()),
        ("success", models.BooleanField(default=True)),
    ]


def queue_fields() -> list[tuple[str, models.Field[Any, Any]]]:
    return [
        ("id", models.AutoField(primary_key=True)),
        ("key", models.CharField(max_length=100)),
        ("payload", models.TextField()),
        ("lock", models.DateTimeField(null=True)),
    ]


def text(length: int) -> models.CharField[Any, Any]:
    """A column of text that may be missing."""
    return models.CharField(max_length=length, null=True, blank=True)


ADDED: dict[str, list[tuple[str, str, models.Field[Any, Any]]]] = {
    "0005": [("schedule", "name", text(100)), ("task", "group", text(100))],
    "0006": [("schedule", "minutes", models.PositiveSmallIntegerField(null=True, blank=True))],
    "0011": [("schedule", "cron", text(100))],
    "0013": [("task", "attempt_count", models.IntegerField(default=0))],
    "0014": [("schedule", "cluster", text(100))],
    "0016": [("schedule", "intended_date_kwarg", text(100))],
    "0017": [("task", "cluster", text(100))],
}
"""The columns that each of Django-Q's migrations added: (model, name, field)."""


def added(number: str) -> list[Any]:
    """The operations of one migration."""
    return [migrations.AddField(model, name, field) for model, name, field in ADDED[number]]
