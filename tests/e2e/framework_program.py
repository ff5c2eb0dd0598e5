"""A program that sends a task in a transaction, and dies after the commit, before the message is sent."""

from __future__ import annotations

import os
import sys

import django

if __name__ == "__main__":
    django.setup()

    from django.db import transaction

    from tests.sample.contract_tasks import write_attempt

    with transaction.atomic():
        # Callbacks of a transaction are called in their order, and this is the first.
        transaction.on_commit(lambda: os._exit(9))
        print(write_attempt.enqueue(sys.argv[1]).id, flush=True)  # noqa: T201  what the test reads
