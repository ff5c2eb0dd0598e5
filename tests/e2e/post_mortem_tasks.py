"""Tasks that fail in ways that a post-mortem explains."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from django.contrib.auth.models import User
from django.views.decorators.debug import sensitive_variables

logger = logging.getLogger("shop")


def log_query_and_fail(order: str, password: str) -> NoReturn:
    User.objects.count()
    logger.warning("order %s", order)
    _total(order, password)


async def log_query_and_fail_in_a_coroutine(order: str) -> NoReturn:
    await User.objects.acount()
    logger.warning("coroutine %s", order)
    await asyncio.sleep(0.05)
    raise ValueError(order)


@sensitive_variables("pin")
def _total(order: str, password: str) -> NoReturn:
    pin = "1234"
    raise ValueError(f"no total of {len(order) + len(password) + len(pin)}")


def log_and_die(trace: str) -> None:
    logger.warning("last words")
    Path(trace).touch()
    os.kill(os.getpid(), signal.SIGKILL)


def hang() -> None:
    hang_for_ever()


def hang_for_ever() -> None:
    while True:
        with suppress(BaseException):  # deaf to its time limit
            time.sleep(60)
