"""Rollbar."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from traceback import extract_tb
from typing import Any

import rollbar as _rollbar

from django_cluster.core.redaction import redactor
from django_cluster.reporters.base import FailedRun

rollbar: Any = _rollbar
"""Half of it has types."""


class RollbarReporter:
    """``error_reporter = {"rollbar": {"access_token": "…", "environment": "production"}}``.

    Rollbar's client is one for the whole process. Where the project has set it up already (its Django middleware
    does), that is what we use, and nothing has to be given here. Further keywords are those of ``rollbar.init``.
    """

    def __init__(
        self,
        access_token: str | None = None,
        environment: str = "production",
        *,
        only_final: bool = False,
        arguments: bool = False,
        **options: Any,
    ) -> None:
        """``only_final``: keep quiet while the task is tried again. ``arguments``: send the task's arguments, and the
        variables of the stack, which hold them."""
        self.only_final = only_final
        self._arguments = arguments
        if rollbar._initialized:
            return
        if not access_token:
            raise ValueError("The reporter needs an 'access_token', or a project that has called rollbar.init().")
        # In a thread: a task must not wait for a service on the other side of the world.
        rollbar.init(access_token, environment, **{"handler": "thread", **options})

    def report_run(self, run: FailedRun) -> None:
        data = {
            "fingerprint": sha256("\n".join(run.fingerprint).encode()).hexdigest()[:40],
            "context": run.func,
            "framework": "django_cluster",
        }
        facts = {"task": run.facts(arguments=self._arguments)}
        if run.error is None:
            text = redactor().text(f"{run.kind}: {run.message}")
            facts["task"]["traceback"] = redactor().traceback(run.traceback)
            rollbar.report_message(text, "error", None, facts, {**data, "title": f"{run.func}: {text}"[:255]})
        elif self._arguments:
            error = run.error
            rollbar.report_exc_info((type(error), error, error.__traceback__), None, facts, data, level="error")
        else:
            _report_without_variables(run.error, facts, data)

    def flush(self, seconds: float) -> None:
        wait: Callable[[], None] = rollbar.wait
        wait()  # has no timeout; the caller has one


def _report_without_variables(error: BaseException, facts: dict[str, Any], data: dict[str, Any]) -> None:
    """``rollbar.report_exc_info`` without the variables of the frames, which are the arguments of the task.

    There they can be left out for the whole process only, and other threads report what is theirs meanwhile.
    """
    if not rollbar._check_config():
        return
    told = (type(error), error, error.__traceback__)
    details = {"request": None, "extra_data": facts, "payload_data": data, "level": "error"}
    if rollbar.events.on_exception_info(told, **details) is False:
        return
    chain = [_trace(each) for each in _causes(error)]
    document = rollbar._build_base_data(None)
    document["level"] = "error"
    document["body"] = {"trace_chain": chain} if len(chain) > 1 else {"trace": chain[0]}
    document |= {"custom": facts, "server": rollbar._build_server_data(), **data}
    payload = rollbar._build_payload(document)
    rollbar.send_payload(payload, payload.get("access_token"))


def _trace(error: BaseException) -> dict[str, Any]:
    frames = [
        {"filename": frame.filename, "lineno": frame.lineno, "method": frame.name, "code": frame.line}
        for frame in extract_tb(error.__traceback__)
    ]
    return {"frames": frames, "exception": {"class": type(error).__name__, "message": redactor().text(str(error))}}


def _causes(error: BaseException) -> list[BaseException]:
    """The exception and what led to it, each once."""
    found: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in found:
        found.append(each)
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)
    return found
