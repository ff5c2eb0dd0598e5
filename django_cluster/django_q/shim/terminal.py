"""Django-Q's functions behind ``qmonitor``, ``qinfo`` and ``qmemory``."""

from __future__ import annotations

from typing import Any

from django.core.management import call_command


def monitor(run_once: bool = False, broker: Any = None) -> None:
    """``manage.py qmonitor``; ``broker`` is accepted, and not looked at."""
    call_command("qmonitor", once=run_once)


def info(broker: Any = None) -> None:
    """``manage.py qinfo``."""
    call_command("qinfo")


def memory(run_once: bool = False, workers: bool = False, broker: Any = None) -> None:
    """``manage.py qmemory``."""
    call_command("qmemory", once=run_once, workers=workers)


def get_ids() -> None:
    """``manage.py qinfo --ids``."""
    call_command("qinfo", ids=True)
