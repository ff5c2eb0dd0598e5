"""Runs moto's SQS with two rules of the real one that moto leaves out.

Only the newest receipt handle of a message counts, and only what is in flight can change its visibility.
"""

from __future__ import annotations

import sys
from typing import Any

from moto.server import main
from moto.sqs import models
from moto.sqs.exceptions import ReceiptHandleIsInvalid


def newest_only(message: models.Message, receipt_handle: str) -> bool:
    return bool(message.receipt_handle == receipt_handle)


def delete(queue: models.Queue, receipt_handle: str) -> None:
    """An older handle is no error, and deletes nothing."""
    if any(message.had_receipt_handle(receipt_handle) for message in queue._messages):
        delete_newest(queue, receipt_handle)


def change_visibility(backend: Any, queue_name: str, receipt_handle: str, visibility_timeout: int) -> None:
    for message in backend.get_queue(queue_name)._messages:
        if message.had_receipt_handle(receipt_handle) and message.visible:
            raise ReceiptHandleIsInvalid
    change_any(backend, queue_name, receipt_handle, visibility_timeout)


delete_newest = models.Queue.delete_message
change_any = models.SQSBackend.change_message_visibility
setattr(models.Message, "had_receipt_handle", newest_only)  # noqa: B010  mypy forbids the plain form
setattr(models.Queue, "delete_message", delete)  # noqa: B010
setattr(models.SQSBackend, "change_message_visibility", change_visibility)  # noqa: B010

if __name__ == "__main__":
    main(sys.argv[1:])
