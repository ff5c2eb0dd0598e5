"""Transactions of a test, which are never committed: what waits for their commit, and savepoints around tasks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import connections, transaction
from django.test import TestCase

logger = logging.getLogger("django_cluster")


def open_transactions() -> list[str]:
    """The aliases of the databases on which a transaction is open."""
    return [each.alias for each in connections.all(initialized_only=True) if each.in_atomic_block]


def on_commit_callbacks() -> list[Callable[[], Any]]:
    """What waits for the commit of an open transaction, in order."""
    return [func for alias in open_transactions() for _, func, _ in _entries(alias) if func is not _called]


def run_on_commit_callbacks() -> None:
    """Call, once, what waits for the commit of the open transactions, as if they had been committed.

    An entry stays in its place, and does nothing any more: a ``captureOnCommitCallbacks`` around this counts them.
    """
    for alias in open_transactions():
        entries, place = _entries(alias), 0
        while place < len(entries):  # a callback may register another
            savepoints, func, robust = entries[place]
            entries[place] = (savepoints, _called, robust)
            try:
                func()
            except Exception as error:
                if not robust:
                    raise
                logger.exception("Error calling %r in on_commit(): %s", func, error)
            place += 1


def _called() -> None:
    """Stands for a callback that was called."""


def _entries(alias: str) -> list[tuple[set[str], Callable[[], Any], bool]]:
    untyped: Any = connections[alias].run_on_commit
    entries: list[tuple[set[str], Callable[[], Any], bool]] = untyped
    return entries


@contextmanager
def committing() -> Iterator[None]:
    """Run the ``on_commit`` callbacks of the transactions that are open now (those of a ``TestCase``) after the block.

    The callbacks are removed afterwards, so that an enclosing block does not run them again.
    """
    with ExitStack() as stack:
        for alias in open_transactions():
            stack.callback(_cut, alias, len(_entries(alias)))
            stack.enter_context(TestCase.captureOnCommitCallbacks(using=alias, execute=True))
        yield


def _cut(alias: str, length: int) -> None:
    del _entries(alias)[length:]


def savepoint(alias: str) -> transaction.Atomic:
    """A savepoint that is transparent for the task.

    Durable blocks are allowed in it if the enclosing block is that of a ``TestCase``.
    """
    block: Any = transaction.atomic(using=alias)
    around: Any = connections[alias].atomic_blocks
    block._from_testcase = bool(around) and around[-1]._from_testcase
    made: transaction.Atomic = block
    return made
