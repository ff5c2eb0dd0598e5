"""The sample app."""

from __future__ import annotations

import os

from django.apps import AppConfig


class SampleConfig(AppConfig):
    """Has tasks and hooks, and no tables."""

    name = "tests.sample"

    def ready(self) -> None:
        if path := os.environ.get("TEST_SIGNALS"):
            from tests.sample.contract_tasks import write_signals

            write_signals(path)
