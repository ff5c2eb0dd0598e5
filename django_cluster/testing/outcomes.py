"""Outcomes of tasks for tests of result stores."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

from django_cluster.core.messages import Outcome
from django_cluster.core.sealed_rows import arguments_context, seal_arguments
from django_cluster.core.signing import dump_pickle
from django_cluster.models.row_signing import row_signer

ERROR = ("ValueError", "no good", "Traceback: …")


def make_outcome(**changes: Any) -> Outcome:
    """A success at the first attempt, with an id of its own; every field can be changed.

    Its arguments, by default none, are sealed as a cluster would seal them. ``pair``: others, as (args, kwargs).
    ``queue``: the one that had the task, as its row will name it.
    """
    now, pair, queue = time.time(), changes.pop("pair", ((), {})), changes.pop("queue", None)
    fields: dict[str, Any] = {
        "number": 1,
        "receipt": "receipt",
        "attempt": 1,
        "id": uuid4().hex,
        "name": "red-green-blue-white",
        "func": "tests.sample.tasks.add",
        "options": {},
        "enqueued_at": now - 3,
        "started_at": now - 2,
        "stopped_at": now - 1,
        "status": "success",
        "worker": "worker 1",
    }
    outcome = Outcome(**{**fields, "queue": queue or "", **changes})
    return outcome if "arguments" in changes else outcome._replace(arguments=_sealed(outcome, pair, queue))


def _sealed(outcome: Outcome, pair: tuple[Any, Any], queue: str | None) -> bytes:
    options, success = outcome.options, outcome.status == "success"
    context = arguments_context(outcome.id, outcome.func, options, hook=options.get("hook"), success=success)
    data = b"" if pair == ((), {}) else dump_pickle(pair)
    return seal_arguments(row_signer(), b"P", data, queue or options.get("queue") or "", context)


def make_failure(**changes: Any) -> Outcome:
    return make_outcome(**{"status": "failure", "failure": ERROR, **changes})
