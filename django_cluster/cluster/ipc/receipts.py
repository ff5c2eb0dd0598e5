"""The part of the scoreboard that keeps receipts: of the running job of each row, and of its last finished jobs.

A worker never has more unrecorded outcomes than a row has receipts, so that a new pusher can renew all their leases.
"""

from __future__ import annotations

from mmap import mmap

RECEIPTS_PER_ROW, RECEIPT_BYTES = 1024, 64
"""How many receipts a row keeps, that of the running job and those of the last finished jobs (a worker never has more
unrecorded ones), and the bytes for each. Longer ones are kept apart:"""
LONG_RECEIPTS_PER_ROW, LONG_RECEIPT_BYTES = 64, 1088
"""Number and bytes of long receipts: enough for the longest that is known (SQS: 1024) and the prefixes of payload
offloading and of several queues."""
LONG_RECEIPT_MARK = b"\1"
"""Written in place of a long receipt."""
RECEIPT_BYTES_PER_ROW = RECEIPTS_PER_ROW * RECEIPT_BYTES + LONG_RECEIPTS_PER_ROW * LONG_RECEIPT_BYTES


class Receipts:
    """The receipts of all rows, from ``place`` in ``memory``, ``RECEIPT_BYTES_PER_ROW`` for each row.

    ``job`` is how many jobs of the row were finished before it: a job that is returned is overwritten by the next.
    """

    def __init__(self, memory: mmap, place: int, rows: int) -> None:
        self._memory, self._place = memory, place
        self._long = place + rows * RECEIPTS_PER_ROW * RECEIPT_BYTES

    def write(self, row: int, job: int, receipt: str) -> None:
        """Write the receipt of a job that begins."""
        text = receipt.encode("ascii", "replace")
        if len(text) >= RECEIPT_BYTES:
            text = self._write_long(row, job, text)
        place = self._place + (row * RECEIPTS_PER_ROW + job % RECEIPTS_PER_ROW) * RECEIPT_BYTES
        self._memory[place : place + len(text) + 1] = text + b"\0"

    def read(self, row: int, job: int, done: int) -> str:
        """The receipt of a job; "" where it is not kept any more. ``done``: how many jobs of the row are finished."""
        text = text_at(
            self._memory,
            self._place + (row * RECEIPTS_PER_ROW + job % RECEIPTS_PER_ROW) * RECEIPT_BYTES,
            RECEIPT_BYTES,
        )
        if text == LONG_RECEIPT_MARK:
            kept = job > done - LONG_RECEIPTS_PER_ROW
            text = text_at(self._memory, self._place_of_long(row, job), LONG_RECEIPT_BYTES) if kept else b""
        return text.decode("ascii", "replace")

    def _write_long(self, row: int, job: int, text: bytes) -> bytes:
        """Write a long receipt; returns what is written in its place."""
        if len(text) >= LONG_RECEIPT_BYTES:
            return b""
        place = self._place_of_long(row, job)
        self._memory[place : place + len(text) + 1] = text + b"\0"
        return LONG_RECEIPT_MARK

    def _place_of_long(self, row: int, job: int) -> int:
        return self._long + (row * LONG_RECEIPTS_PER_ROW + job % LONG_RECEIPTS_PER_ROW) * LONG_RECEIPT_BYTES


def text_at(memory: mmap, place: int, size: int) -> bytes:
    """The bytes up to the first zero."""
    return memory[place : place + size].partition(b"\0")[0]
