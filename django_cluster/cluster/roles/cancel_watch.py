"""Passes requests to cancel on to the workers. Runs in the monitor, with the heartbeat.

With each heartbeat the monitor knows all requests, and writes them on the scoreboard, so that workers refuse what they
cover. What runs is compared with requests that are new. While a task runs for longer than a moment, the monitor asks
for new requests twice a second.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from django_cluster.cluster.ipc.incarnation import ProcessRole, decode_role
from django_cluster.cluster.ipc.process_row import ProcessState
from django_cluster.cluster.ipc.scoreboard import Scoreboard
from django_cluster.cluster.ipc.shared_hashes import text_hash
from django_cluster.cluster.ipc.words import CONCURRENT, EXIT_CODE, ROLE_CODE, RUNNING, SENTINEL, STATE
from django_cluster.core.cancel_requests import CancelRequest, TaskKeys
from django_cluster.core.events.tasks import CANCEL_TOO_LATE, TASK_CANCEL_REQUESTED
from django_cluster.core.messages import Outcome, OutcomeStatus
from django_cluster.errors import StoreUnavailable
from django_cluster.stores.cancel_requests import CancelRequestStore

LOOK_SECONDS = 0.4
"""Seconds between two questions for new requests, while a task runs for longer than ``LONG_TASK_SECONDS``."""
LONG_TASK_SECONDS = 0.2
FRESH_SECONDS = 10.0
"""Seconds for which a new request is compared with what runs: a worker that begins later knows it."""
RETRY_SECONDS = 2.0
"""Seconds until the next question, after one that was not answered."""
INFO_WORDS = 3
"""Id, name and function: what a worker notes of each task. Of one that has a group it notes three more."""


class CancelWatch:
    """The requests that are known here."""

    def __init__(
        self, board: Scoreboard, store: CancelRequestStore, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._board, self._store, self._clock = board, store, clock
        self._known: dict[str, CancelRequest] = {}
        self._fresh: dict[str, float] = {}
        self._look_at = 0.0

    def refresh(self, requests: Iterable[CancelRequest]) -> None:
        """Replace what is known by all requests that hold."""
        before, self._known = self._known, {request.target: request for request in requests}
        self._fresh = {target: until for target, until in self._fresh.items() if target in self._known}
        self._note_new(before)

    def look(self) -> None:
        """Ask for new requests, if it is time and a task has run for a while; then pass them on."""
        now = self._clock()
        if now < self._look_at:
            return
        self._look_at = now + LOOK_SECONDS
        if not self._fresh and not self._runs_long(now):
            return
        try:
            recent = self._store.recent()
        except StoreUnavailable:  # the heartbeat says so
            self._look_at = now + RETRY_SECONDS
            return
        before = dict(self._known)
        self._known.update((request.target, request) for request in recent)
        self._note_new(before)

    def note_ends(self, outcomes: Sequence[Outcome]) -> None:
        """Forget the requests for tasks that have ended; ``outcomes``: runs that were recorded."""
        ended = [each for each in outcomes if each.final and each.id in self._known] if self._known else []
        if not ended:
            return
        for outcome in ended:
            if outcome.status != OutcomeStatus.CANCELLED:
                CANCEL_TOO_LATE.log(task_id=outcome.id, task_name=outcome.name, reason=outcome.status)
        names = [outcome.id for outcome in ended]
        with suppress(StoreUnavailable):  # else it is refused once more, or ends with its time
            self._store.remove(names)
        for name in names:
            self._known.pop(name, None)
            self._fresh.pop(name, None)
        self._publish()

    def _note_new(self, before: dict[str, CancelRequest]) -> None:
        now = self._clock()
        new = [target for target, request in self._known.items() if before.get(target) != request]
        if new or len(before) != len(self._known):
            self._publish()
        self._fresh = {target: until for target, until in self._fresh.items() if until > now}
        self._fresh |= dict.fromkeys(new, now + FRESH_SECONDS)
        if self._fresh:
            self._cancel_running(now)

    def _publish(self) -> None:
        self._board.cancelled.write([text_hash(target) for target in self._known])

    def _workers(self) -> Iterator[int]:
        """The rows of workers that run something."""
        board = self._board
        for row in range(board.rows):
            busy = board.get(row, RUNNING) and board.get(row, STATE) == ProcessState.BUSY
            if busy and decode_role(board.get(row, ROLE_CODE))[0] is ProcessRole.WORKER:
                yield row

    def _runs_long(self, now: float) -> bool:
        """Whether a task has run for a while; of several at a time that is not known, and supposed."""
        board = self._board
        if any(now - board.read(row).started > LONG_TASK_SECONDS for row in self._workers()):
            return True
        return any(board.get(row, CONCURRENT) and not board.get(row, EXIT_CODE) for row in range(board.rows))

    def _cancel_running(self, now: float) -> None:
        """Note on the scoreboard which running jobs are to be cancelled, and wake the sentinel, which interrupts them.

        It comes after ``_publish``: a job that begins meanwhile either sees the set, or is seen here the next time.
        """
        found = False
        for row in self._workers():
            number, words = self._board.get(row, RUNNING), self._board.read_task_info(row)
            if not words or self._board.is_cancelled(row):
                continue
            keys = keys_of_info(words)
            requests = [self._known[name] for name in keys.names if name in self._fresh]
            request = next((each for each in requests if each.covers(keys)), None)
            if request is not None:
                self._board.request_cancel(row, number, now)
                TASK_CANCEL_REQUESTED.log(task_id=keys.id, task_name=words[1], by=request.by or "a program")
                found = True
        if found and (sentinel := self._board.cluster_word(SENTINEL)):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(sentinel, signal.SIGCHLD)


def keys_of_info(words: Sequence[str]) -> TaskKeys:
    """What a worker has noted of its task."""
    if len(words) < INFO_WORDS + 3:
        return TaskKeys(words[0])
    enqueued_at, composition, group = words[INFO_WORDS:][:3]
    return TaskKeys(words[0], composition, group, float(enqueued_at))
