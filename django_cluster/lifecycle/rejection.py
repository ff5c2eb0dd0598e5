"""The outcome of a message that can never be run."""

from __future__ import annotations

from django_cluster.core.codec import header_of
from django_cluster.core.messages import Job, Outcome, OutcomeStatus, TaskHeader
from django_cluster.errors import PackageError
from django_cluster.lifecycle.failure_text import describe


def rejected_outcome(job: Job, payload: str, error: BaseException, moment: float, worker: str) -> Outcome:
    """The outcome of a message that cannot be run, with its payload; ``job.body`` is empty where nothing was verified.

    ``moment``: Unix time.
    """
    header = _header_or_none(job.body) or TaskHeader(
        id=id_of_payload(payload), name="unreadable package", func="", enqueued_at=moment
    )
    return Outcome.of(
        job,
        header,
        OutcomeStatus.REJECTED,
        started_at=moment,
        stopped_at=moment,
        worker=worker,
        failure=describe(error, with_traceback=error.__cause__ is not None).plain,
        payload=payload,
    )


def _header_or_none(body: bytes) -> TaskHeader | None:
    try:
        return header_of(body) if body else None
    except PackageError:
        return None


def id_of_payload(payload: str) -> str:
    """An id for a message whose own id cannot be read: a message that is rejected twice is one row."""
    from hashlib import sha256

    return sha256(payload.encode("utf-8", "replace")).hexdigest()[:32]
