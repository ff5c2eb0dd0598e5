"""What a task activates is active neither in the next one nor, in sync mode, in the caller."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from contextvars import ContextVar
from decimal import Decimal
from typing import Any

import pytest
from django.core.cache import caches
from django.urls import get_script_prefix, set_script_prefix
from django.urls.base import get_urlconf, set_urlconf
from django.utils import timezone, translation

from django_cluster.core.codec import Codec
from django_cluster.core.messages import Job, OutcomeStatus, TaskHeader, TaskPackage
from django_cluster.core.sealed_rows import result_context
from django_cluster.core.signing import ValueSigner
from django_cluster.lifecycle.error_reporting import ErrorReporters
from django_cluster.lifecycle.executor import Executor
from django_cluster.lifecycle.task_context import InitialContext
from tests.conftest import make_settings

SIGNING = make_settings().signing
CODEC, SIGNER = Codec(SIGNING), ValueSigner(SIGNING.secret)

tenant = ContextVar("tenant", default="nobody")


def set_precision() -> None:
    decimal.getcontext().prec = 3


def allow_division_by_zero() -> None:
    decimal.getcontext().traps[decimal.DivisionByZero] = False


CHANGES: dict[str, Callable[[], Any]] = {
    "language": lambda: translation.activate("ru"),
    "no language": translation.deactivate,
    "time zone": lambda: timezone.activate("Asia/Tokyo"),
    "urls": lambda: set_urlconf("tests.sample.urls"),
    "script prefix": lambda: set_script_prefix("/shop/"),
    "precision": set_precision,
    "traps": allow_division_by_zero,
    "a variable of a library": lambda: tenant.set("somebody"),
}


def change(what: str) -> None:
    CHANGES[what]()


def state() -> tuple[Any, ...]:
    """What the tests change, as one comparable value."""
    return (
        translation.get_language(),
        timezone.get_current_timezone_name(),
        get_urlconf(),
        get_script_prefix(),
        str(Decimal(1) / Decimal(7)),
        decimal.getcontext().traps[decimal.DivisionByZero],
        tenant.get(),
    )


def executor(initial: InitialContext | None) -> Executor:
    return Executor(CODEC, SIGNER, ErrorReporters({}), timeout=None, worker="worker 1", initial=initial)


def run(used: Executor, func: Callable[..., Any], *args: Any) -> Any:
    header = TaskHeader(id="1", name="one", func=f"{__name__}.{func.__name__}", enqueued_at=0.0)
    outcome = used.run(Job(1, CODEC.verify(CODEC.dumps(TaskPackage(header=header, args=args))), "", 1))
    assert outcome.status == OutcomeStatus.SUCCESS, outcome.failure
    return SIGNER.loads(outcome.result, result_context(outcome.id))


@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("kind", ["worker", "sync"])
def test_every_task_starts_as_the_first_did(kind: str, what: str) -> None:
    before = state()
    used = executor(InitialContext() if kind == "worker" else None)
    first = run(used, state)

    run(used, change, what)

    assert run(used, state) == first == before
    assert state() == before


def test_a_task_starts_with_what_the_process_has_set_up() -> None:
    def set_up() -> Executor:
        decimal.getcontext().prec = 50
        tenant.set("the default of this project")
        with translation.override("de"):
            return executor(InitialContext())

    used = InitialContext().run(set_up)
    run(used, change, "precision")

    language, _, _, _, seventh, _, variable = run(used, state)
    assert (language, variable) == ("de", "the default of this project")
    assert len(seventh) == 52


def test_tasks_share_the_connections_of_caches() -> None:
    initial = InitialContext()

    assert initial.run(lambda: caches["default"]) is initial.run(lambda: caches["default"])
