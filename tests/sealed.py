"""Rows as a cluster seals them, for tests that write rows themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django_cluster.core.messages import Outcome
from django_cluster.core.sealed_rows import arguments_context, open_arguments, result_context, seal_arguments
from django_cluster.core.signing import ValueSigner, dump_pickle
from django_cluster.models.row_signing import row_signer


def sealed_result(value: object, task_id: str) -> bytes | None:
    """The result of the task of this id."""
    return row_signer().dumps(value, result_context(task_id))


def sealed_arguments(
    pair: object = ((), {}),
    *,
    id: str,
    func: str,
    queue: str = "default",
    options: Mapping[str, Any] | None = None,
    hook: str | None = None,
    success: bool = False,
) -> bytes:
    """The arguments (args, kwargs) of a task with this id, function, hook, queue and options."""
    context = arguments_context(id, func, options or {}, hook=hook, success=success)
    data = b"" if pair == ((), {}) else dump_pickle(pair)
    return seal_arguments(row_signer(), b"P", data, queue, context)


def arguments_of(outcome: Outcome, secret: str) -> tuple[Any, ...]:
    """(args, kwargs) of an outcome that was sealed with this key."""
    assert outcome.arguments is not None
    success, hook = outcome.status == "success", outcome.options.get("hook")
    context = arguments_context(outcome.id, outcome.func, outcome.options, hook=hook, success=success)
    return open_arguments(ValueSigner(secret), outcome.arguments, context)[:2]
