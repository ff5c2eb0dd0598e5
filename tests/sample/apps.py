"""The sample app."""

from __future__ import annotations

from django.apps import AppConfig


class SampleConfig(AppConfig):
    """Has tasks and hooks, and no tables."""

    name = "tests.sample"
