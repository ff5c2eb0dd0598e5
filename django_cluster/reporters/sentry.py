"""Sentry, or any service that understands its protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.integrations.logging import ignore_logger
from sentry_sdk.utils import event_from_exception

from django_cluster.core.redaction import redactor
from django_cluster.reporters.base import FailedRun

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

FAILURE_LOG = "django_cluster.tasks"
"""Logger of failed tasks, excluded from Sentry's logging integration, which would report each failure twice."""


class SentryReporter:
    """``error_reporter = {"sentry": {"dsn": "https://…"}}``.

    Without a ``dsn``, reports go through the client that the project has set up with ``sentry_sdk.init()``, with its
    filters, release and environment. With one, a client of our own is used, which patches nothing and does not
    disturb the project's. Further keywords are those of ``sentry_sdk.Client``.
    """

    def __init__(
        self, dsn: str | None = None, *, only_final: bool = False, arguments: bool = False, **options: Any
    ) -> None:
        """``only_final``: keep quiet while the task is tried again. ``arguments``: send the task's arguments, and the
        variables of the stack, which hold them."""
        self.only_final = only_final
        self._arguments = arguments
        self._own: sentry_sdk.Client | None = None
        if dsn:
            defaults = {"default_integrations": False, "include_local_variables": arguments}
            self._own = sentry_sdk.Client(**{**defaults, **options, "dsn": dsn})
        elif not sentry_sdk.get_client().is_active():
            raise ValueError("The reporter needs a 'dsn', or a project that has called sentry_sdk.init().")
        ignore_logger(FAILURE_LOG)

    def report_run(self, run: FailedRun) -> None:
        with sentry_sdk.isolation_scope() as scope:
            if self._own is not None:
                scope.set_client(self._own)
            event, hint = self._event(run, scope.get_client().options)
            scope.capture_event(event, hint)

    def flush(self, seconds: float) -> None:
        (self._own or sentry_sdk.get_client()).flush(timeout=seconds)

    def _event(self, run: FailedRun, options: dict[str, Any]) -> tuple[Event, Hint]:
        event: Event
        hint: Hint
        if run.error is not None:
            # The variables of a frame are the arguments of the task.
            shown = bool(options.get("include_local_variables")) and self._arguments
            whole = {**options, "include_local_variables": shown}
            event, hint = event_from_exception(
                run.error, client_options=whole, mechanism={"type": "django_cluster", "handled": False}
            )
            _redact(event)
        else:
            said = redactor().text(run.message)
            words = {"type": run.kind, "value": said, "mechanism": {"type": "django_cluster", "handled": False}}
            event, hint = {"level": "error", "exception": {"values": [words]}}, {}
            if run.traceback:
                event["extra"] = {"traceback": redactor().traceback(run.traceback)}
        event["transaction"] = run.func
        event["fingerprint"] = list(run.fingerprint)
        event["tags"] = dict(run.tags())
        event["contexts"] = {"task": run.facts(arguments=self._arguments)}
        return event, hint


def _redact(event: Event) -> None:
    """Texts of exceptions say what was wrong with an argument, and may quote it."""
    for each in event.get("exception", {}).get("values", ()):
        if isinstance(each.get("value"), str):
            each["value"] = redactor().text(each["value"])
