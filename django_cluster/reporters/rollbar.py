"""Rollbar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import rollbar

from django_cluster.reporters.base import FailedRun


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
        with self._frames():
            if run.error is not None:
                error = run.error
                rollbar.report_exc_info((type(error), error, error.__traceback__), None, facts, data, level="error")
            else:
                text = f"{run.kind}: {run.message}"
                facts["task"]["traceback"] = run.traceback
                rollbar.report_message(text, "error", None, facts, {**data, "title": f"{run.func}: {text}"[:255]})

    def flush(self, seconds: float) -> None:
        wait: Callable[[], None] = rollbar.wait
        wait()  # knows no limit; whoever calls us does

    @contextmanager
    def _frames(self) -> Iterator[None]:
        """The variables of a frame are the arguments of the task, and would be sent with every frame."""
        variables = rollbar.SETTINGS["locals"]
        before = variables["enabled"]
        variables["enabled"] = before and self._arguments
        try:
            yield
        finally:
            variables["enabled"] = before
