"""Shared memory without a lock: one row for each incarnation of each process, and one for the cluster as a whole.

A field has exactly one writer, named in ``words``, and any number of readers. It is one aligned machine word, so that a
reader sees the old value or the new one, never half of each. A killed process can leave nothing locked.

A new incarnation gets the row that has been unused for the longest time, so that what a dead process wrote last can
still be read.
"""

from __future__ import annotations

import mmap
import os
import time

from django_cluster.cluster.bootstrap.host import allocate_file, is_alive
from django_cluster.cluster.ipc.process_row import Cause, ProcessCommand, ProcessState, ScoreboardRow
from django_cluster.cluster.ipc.receipts import RECEIPT_BYTES_PER_ROW, RECEIPTS_PER_ROW, Receipts
from django_cluster.cluster.ipc.shared_hashes import (
    CANCELLED_BYTES,
    MAX_CANCELLED,
    MAX_PAUSED,
    PAUSED_BYTES,
    SharedHashes,
)
from django_cluster.cluster.ipc.task_notes import NOTE_BYTES_PER_ROW, TaskNotes
from django_cluster.cluster.ipc.words import (
    APPLIED_PAUSES,
    BEGUN,
    BLOCKER,
    CANCEL_JOB,
    CANCELLED_AT,
    CAUSE,
    COMMAND,
    CONCURRENT,
    CONCURRENT_DEADLINE,
    CONCURRENT_DONE,
    DEADLINE,
    DONE,
    EXIT_CODE,
    EXIT_OFFSET,
    IDLE_SINCE,
    IN_FLIGHT,
    INCARNATION,
    JOB_SLOTS,
    LAST_ALIVE,
    LAUNCHED,
    LEASED_UNTIL,
    PEAK_RSS,
    PID,
    PROGRESS_DONE,
    PROGRESS_JOB,
    PROGRESS_TOTAL,
    RESTART_REQUEST,
    REVOKED,
    ROLE_CODE,
    RSS,
    RUNNING,
    SENTINEL,
    STARTED,
    STATE,
    STEP_JOB,
    STEP_SINCE,
    STILL_RUNNING,
    WORD_BYTES,
    WORDS_PER_ROW,
)
from django_cluster.core.task_progress import TaskProgress

ROW_BYTES = WORDS_PER_ROW * WORD_BYTES + RECEIPT_BYTES_PER_ROW + NOTE_BYTES_PER_ROW


class Scoreboard:
    """The rows, in a small file that every process of the cluster maps."""

    def __init__(self, path: str | os.PathLike[str], rows: int) -> None:
        self.path = path
        self.rows = rows
        self.descriptor: int | None = None
        """The descriptor of the file in the process that has created it; it remains valid when the file is removed."""
        with open(path, "r+b", buffering=0) as file:
            self._memory = mmap.mmap(file.fileno(), (rows + 1) * ROW_BYTES)
        words = memoryview(self._memory)[: (rows + 1) * WORDS_PER_ROW * WORD_BYTES]
        self._ints, self._floats = words.cast("Q"), words.cast("d")
        receipts = (rows + 1) * WORDS_PER_ROW * WORD_BYTES
        notes = receipts + rows * RECEIPT_BYTES_PER_ROW
        self._receipts = Receipts(self._memory, receipts, rows)
        self._notes = TaskNotes(self._memory, notes, rows)
        self._cluster = rows * WORDS_PER_ROW
        # Where the row of the cluster would have its receipts.
        paused = notes + rows * NOTE_BYTES_PER_ROW
        self.paused = SharedHashes(memoryview(self._memory)[paused : paused + PAUSED_BYTES], MAX_PAUSED)
        """The ``text_hash`` of the dotted path of each paused function. Written by the monitor."""
        cancelled = paused + PAUSED_BYTES
        self.cancelled = SharedHashes(memoryview(self._memory)[cancelled : cancelled + CANCELLED_BYTES], MAX_CANCELLED)
        """The ``text_hash`` of the name of whatever is cancelled. Written by the monitor."""

    @classmethod
    def create(cls, path: str | os.PathLike[str], rows: int) -> Scoreboard:
        """Create the file. Raises ``OSError`` where there is no room for all of it.

        All blocks are allocated: a process that wrote into a hole of the file on a full disk would die of SIGBUS.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            allocate_file(descriptor, (rows + 1) * ROW_BYTES)
            board = cls(path, rows)
        except BaseException:
            os.close(descriptor)
            os.unlink(path)
            raise
        board.descriptor = descriptor
        return board

    def close(self) -> None:
        self._ints.release()
        self._floats.release()
        self.paused.close()
        self.cancelled.close()
        self._memory.close()
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def get(self, row: int, word: int) -> int:
        return self._ints[row * WORDS_PER_ROW + word]

    def set(self, row: int, word: int, value: int) -> None:
        self._ints[row * WORDS_PER_ROW + word] = value

    def cluster_word(self, word: int) -> int:
        return self._ints[self._cluster + word]

    def set_cluster_word(self, word: int, value: int) -> None:
        self._ints[self._cluster + word] = value

    @property
    def launched(self) -> float:
        """Unix time at which the sentinel started."""
        return self._floats[self._cluster + LAUNCHED]

    @property
    def leased_until(self) -> float:
        """``time.monotonic()`` up to which all leases of this cluster certainly hold; 0 before the first renewal."""
        return self._floats[self._cluster + LEASED_UNTIL]

    def set_leased_until(self, moment: float) -> None:
        self._floats[self._cluster + LEASED_UNTIL] = moment

    def record_launch(self, pid: int, moment: float) -> None:
        """Called by the sentinel before it starts any process."""
        self.set_cluster_word(SENTINEL, pid)
        self._floats[self._cluster + LAUNCHED] = moment

    def reset_row(self, row: int, incarnation: int, role_code: int = 0) -> None:
        """Clear a row for a new incarnation. Called by the sentinel before it starts the process."""
        for word in range(WORDS_PER_ROW):
            self.set(row, word, 0)
        self.set(row, STATE, ProcessState.BOOTING)
        self.set(row, ROLE_CODE, role_code)
        self.set(row, INCARNATION, incarnation)

    def begin_job(self, row: int, number: int, started: float, deadline: float, receipt: str = "") -> None:
        """The process begins job ``number``. BEGUN is written last: a reader that sees it sees the rest."""
        base = row * WORDS_PER_ROW
        self._receipts.write(row, self._ints[base + DONE], receipt)
        self._floats[base + STARTED] = started
        self._floats[base + DEADLINE] = deadline
        self._ints[base + RUNNING] = number
        self._ints[base + STATE] = ProcessState.BUSY
        self._ints[base + BEGUN] = number

    def write_task_info(self, row: int, number: int, *words: str) -> None:
        """Write what ``read_task_info`` returns of the running job ``number``. Called by the process."""
        self._notes.write_info(row, number, *words)

    def read_task_info(self, row: int) -> list[str] | None:
        """The words that were written about the running job; None while there is none, or nothing was written yet."""
        running = self.get(row, RUNNING)
        words = self._notes.read_info(row, running)
        return words if self.get(row, RUNNING) == running else None

    def write_progress(self, row: int, done: float, total: float, message: str) -> None:
        """Write how far the running job is; a total of 0 = not known. Called by the process, also outside a job."""
        base = row * WORDS_PER_ROW
        number = self._ints[base + RUNNING]
        if not number:
            return
        self._notes.write_message(row, number, message)
        self._floats[base + PROGRESS_DONE] = done
        self._floats[base + PROGRESS_TOTAL] = total
        self._ints[base + PROGRESS_JOB] = number

    def read_progress(self, row: int) -> TaskProgress | None:
        """How far the running job is, as it has said last; None while there is none, or it has said nothing.

        It is read while it may be written: numbers and message may be of two calls that followed each other.
        """
        base = row * WORDS_PER_ROW
        running = self._ints[base + RUNNING]
        if not running or self._ints[base + PROGRESS_JOB] != running:
            return None
        done, total = self._floats[base + PROGRESS_DONE], self._floats[base + PROGRESS_TOTAL]
        message = self._notes.read_message(row, running)
        if self._ints[base + RUNNING] != running:
            return None
        return TaskProgress(done=done, total=total or None, message=message)

    def running_receipts(self) -> list[str]:
        """The receipts of everything that runs in this cluster, also of jobs that a former pusher has assigned."""
        return [receipt for row in range(self.rows) if (receipt := self._running_receipt(row))]

    def _running_receipt(self, row: int) -> str:
        number = self.get(row, RUNNING)
        if not number or self.get(row, EXIT_CODE) != STILL_RUNNING:
            return ""
        receipt = self._receipt(row, self.get(row, DONE))
        return receipt if self.get(row, RUNNING) == number else ""

    def done_receipts(self, row: int) -> list[str]:
        """The receipts of the last finished jobs of a process, which may be unrecorded, the oldest first."""
        if self.get(row, EXIT_CODE) != STILL_RUNNING:
            return []
        done = self.get(row, DONE)
        first = max(0, done - RECEIPTS_PER_ROW + 1)
        receipts = [self._receipt(row, job) for job in range(first, done)]
        written_over = self.get(row, DONE) - done  # since the reading began
        return [receipt for receipt in receipts[written_over:] if receipt]

    def _receipt(self, row: int, job: int) -> str:
        return self._receipts.read(row, job, self.get(row, DONE))

    def has_ended(self, row: int, incarnation: int) -> bool:
        """Whether the sentinel has handled the exit of this incarnation."""
        return self.get(row, INCARNATION) != incarnation or self.get(row, EXIT_CODE) != STILL_RUNNING

    def ended_incarnations(self) -> frozenset[int]:
        """The numbers of all incarnations that have exited and whose rows were not reused."""
        return frozenset(
            self.get(row, INCARNATION) for row in range(self.rows) if self.get(row, EXIT_CODE) != STILL_RUNNING
        )

    def others_alive(self, own_row: int) -> bool:
        """Whether any other process of this cluster still lives."""
        pids = {self.get(row, PID) for row in range(self.rows) if row != own_row}
        return any(pid and is_alive(pid) for pid in pids)

    def report_alive(self, row: int, allowance: float = 0.0) -> None:
        """The process makes progress. ``allowance``: seconds that it may be silent beyond the usual limit."""
        self._floats[row * WORDS_PER_ROW + LAST_ALIVE] = time.monotonic() + allowance

    def idle_since(self, row: int) -> float:
        """``time.monotonic()`` since which this process has had nothing to do; 0 = it may have something."""
        return self._floats[row * WORDS_PER_ROW + IDLE_SINCE]

    def set_idle_since(self, row: int, moment: float) -> None:
        """Called by the process itself."""
        self._floats[row * WORDS_PER_ROW + IDLE_SINCE] = moment

    def set_step(self, row: int, number: int, since: float) -> None:
        """The event loop begins to execute code of job ``number``; 0: it has ended. Called by the worker."""
        base = row * WORDS_PER_ROW
        self._ints[base + STEP_JOB] = number
        self._floats[base + STEP_SINCE] = since

    def set_concurrent_deadline(self, row: int, deadline: float) -> None:
        """Called by the worker whenever the earliest deadline of its concurrent jobs changes; 0 = none has one."""
        self._floats[row * WORDS_PER_ROW + CONCURRENT_DEADLINE] = deadline

    def set_deadline(self, row: int, deadline: float) -> None:
        self._floats[row * WORDS_PER_ROW + DEADLINE] = deadline

    def request_cancel(self, row: int, number: int, moment: float) -> None:
        """Job ``number`` is to be cancelled, if it runs. ``moment``: ``time.monotonic()``. Called by the monitor."""
        self._floats[row * WORDS_PER_ROW + CANCELLED_AT] = moment
        self._ints[row * WORDS_PER_ROW + CANCEL_JOB] = number

    def is_cancelled(self, row: int) -> bool:
        """Whether the job that runs is to be cancelled."""
        base = row * WORDS_PER_ROW
        number = self._ints[base + CANCEL_JOB]
        return number != 0 and number == self._ints[base + RUNNING]

    def finish_job(self, row: int, *, counted: bool = True) -> None:
        """The process has finished the running job, or, with ``counted=False``, has returned it."""
        base = row * WORDS_PER_ROW
        self._floats[base + LAST_ALIVE] = time.monotonic()  # first: from now on ``unresponsive_timeout`` holds
        self._ints[base + STATE] = ProcessState.IDLE
        self._ints[base + RUNNING] = 0
        self._floats[base + DEADLINE] = 0.0
        self._ints[base + DONE] += counted

    def read(self, row: int) -> ScoreboardRow:
        base = row * WORDS_PER_ROW
        words = self._ints[base : base + WORDS_PER_ROW].tolist()
        ended = words[EXIT_CODE]
        return ScoreboardRow(
            incarnation=words[INCARNATION],
            pid=words[PID],
            state=ProcessState(words[STATE]),
            running=words[RUNNING],
            begun=words[BEGUN],
            done=words[DONE] + words[CONCURRENT_DONE],
            rss=words[RSS],
            started=self._floats[base + STARTED],
            deadline=self._floats[base + DEADLINE],
            command=ProcessCommand(words[COMMAND]),
            cause=Cause(words[CAUSE]),
            exit_code=None if ended == STILL_RUNNING else ended - EXIT_OFFSET,
            peak_rss=words[PEAK_RSS],
            revoked=words[REVOKED],
            role_code=words[ROLE_CODE],
            restart_request=words[RESTART_REQUEST],
            last_alive=self._floats[base + LAST_ALIVE],
            applied_pauses=words[APPLIED_PAUSES],
            in_flight=words[IN_FLIGHT],
            cancel_job=words[CANCEL_JOB],
            cancelled_at=self._floats[base + CANCELLED_AT],
            slots=words[JOB_SLOTS],
            concurrent=words[CONCURRENT],
            concurrent_deadline=self._floats[base + CONCURRENT_DEADLINE],
            blocker=words[BLOCKER],
            step_job=words[STEP_JOB],
            step_since=self._floats[base + STEP_SINCE],
        )

    def set_exit(self, row: int, code: int) -> None:
        self.set(row, EXIT_CODE, code + EXIT_OFFSET)
