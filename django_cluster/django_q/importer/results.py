"""Import of finished tasks, with the same ids."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction

from django_cluster.core.messages import OutcomeStatus
from django_cluster.core.sealed_rows import arguments_context, result_context, seal_arguments
from django_cluster.core.signing import ValueSigner, dump_pickle
from django_cluster.django_q.importer.source import SourceRow, SourceTask, batches
from django_cluster.errors import NotSerializable
from django_cluster.importing.pickles import NotPlainValue, OpaquePickle, load_plain
from django_cluster.importing.report import ImportReport
from django_cluster.models import Task

TIMED_OUT = "Task exceeded maximum timeout value"
TRACEBACK = " : Traceback (most recent call last)"
LEFT_OUT = "came without {what}, which holds more than plain values; --trust-pickles takes it over as well."

FORBIDDEN = "came without {what}: Django-Q has pickled it, and serializer = 'json' forbids opening pickles."

COLUMNS = (
    *("sealed_arguments", "sealed_result", "status", "success", "final", "attempt_count", "enqueued_at", "started_at"),
    *("stopped_at", "error_message", "error_traceback"),
)
"""What another run of a task has changed in its row."""


class ResultImporter:
    """Imports result rows into ``database``. ``trusted``: whether to keep pickles of classes, unopened."""

    def __init__(
        self, seal: ValueSigner, *, source: str, database: str, trusted: bool, dry_run: bool, forbidden: bool = False
    ) -> None:
        """``forbidden``: whether no pickle may be opened at all (``serializer = "json"``)."""
        self._forbidden = forbidden
        self._seal, self._source, self._database = seal, source, database
        self._trusted, self._dry_run = trusted, dry_run

    def run(self, report: ImportReport) -> None:
        """Import all rows; safe to interrupt and to repeat. Of two rows of one task the one that ended later is kept:
        while Django-Q's clusters run, they may run a task again whose failure was imported."""
        for rows in batches(SourceTask, self._source):
            ours = Task.objects.using(self._database)
            known = dict(ours.filter(pk__in=[row["id"] for row in rows]).values_list("pk", "stopped_at"))
            later = [row["id"] for row in rows if row["id"] in known and _is_later(row, known[row["id"]])]
            new = [self.task(row, report) for row in rows if row["id"] not in known]
            changed = [self.task(row, report) for row in rows if row["id"] in later]
            if not self._dry_run:
                with transaction.atomic(using=self._database):
                    ours.bulk_create(new, ignore_conflicts=True)
                    ours.bulk_update(changed, COLUMNS)  # the project's foreign keys may point to them
            report.imported += len(new) + len(changed)
            report.already_present += len(known) - len(later)

    def task(self, row: SourceRow, report: ImportReport) -> Task:
        success, (message, traceback) = bool(row["success"]), ("", "")
        if not success:
            message, traceback = self._error(row)
        timed_out = TIMED_OUT in message
        status = OutcomeStatus.SUCCESS if success else OutcomeStatus.TIMEOUT if timed_out else OutcomeStatus.FAILURE
        return Task(
            id=row["id"],
            name=row["name"],
            func=row["func"],
            hook=row["hook"],
            group=row["group"],
            queue=row.get("cluster"),
            sealed_arguments=self._arguments(row, report, success=success),
            sealed_result=self._result(row, report) if success else None,
            status=status.value,
            success=success,
            final=True,
            attempt_count=row.get("attempt_count") or 1,
            enqueued_at=row["started"],
            started_at=row["started"],
            stopped_at=row["stopped"],
            error_message=message,
            error_traceback=traceback,
        )

    def _arguments(self, row: SourceRow, report: ImportReport, *, success: bool) -> bytes | None:
        try:
            args = self._opened(row["args"], nothing=())
            kwargs = self._opened(row["kwargs"], nothing={})
            pair = (args if isinstance(args, OpaquePickle) else tuple(args or ()), kwargs or {})
            data = b"" if pair == ((), {}) else dump_pickle(pair)
        except (NotPlainValue, NotSerializable, TypeError):
            report.reasons[self._reason("its arguments")] += 1
            return None
        context = arguments_context(row["id"], row["func"], {}, hook=row["hook"], success=success)
        return seal_arguments(self._seal, b"P", data, row.get("cluster") or "", context)

    def _result(self, row: SourceRow, report: ImportReport) -> bytes | None:
        try:
            return self._seal.dumps(self._opened(row["result"]), result_context(row["id"]))
        except (NotPlainValue, NotSerializable):
            report.reasons[self._reason("its result")] += 1
            return None

    def _opened(self, text: str | None, nothing: Any = None) -> Any:
        """Raises ``NotPlainValue`` also for every pickle, where the settings forbid to open any."""
        if text is not None and self._forbidden:
            raise NotPlainValue
        return load_plain(text, trusted=self._trusted, nothing=nothing)

    def _reason(self, what: str) -> str:
        return (FORBIDDEN if self._forbidden else LEFT_OUT).format(what=what)

    def _error(self, row: SourceRow) -> tuple[str, str]:
        """Message and traceback, which Django-Q stores as one text."""
        text: Any = None
        try:
            text = load_plain(None if self._forbidden else row["result"], trusted=False)
        except NotPlainValue:
            text = "The error is kept in a form that cannot be read here."
        message, found, rest = str(text or "").partition(TRACEBACK)
        return message, f"{TRACEBACK[3:]}{rest}" if found else ""


def _is_later(row: SourceRow, stopped: datetime | None) -> bool:
    return stopped is None or row["stopped"] > stopped
