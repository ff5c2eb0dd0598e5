"""Inserts the rows of members: each place once, and a value that the database refuses does not stop the others."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import IntegrityError, transaction

from django_cluster.core.batching import batches
from django_cluster.core.events.tasks import GROUP_RESULT_UNUSABLE
from django_cluster.database.dialect import is_mysql
from django_cluster.database.refused_values import is_data_error, packet_limit, weight
from django_cluster.database.session import Session
from django_cluster.models import GroupMember
from django_cluster.stores.orm_writer import DATA_ERRORS

ROWS_PER_STATEMENT = 200
BYTES_PER_STATEMENT = 1 << 20


def insert(session: Session, rows: Sequence[GroupMember]) -> dict[str, GroupMember]:
    """Insert the places that are free; returns what was inserted, by key. Must be called in a transaction.

    A result that cannot be kept makes its member a failed one, which says why.
    """
    taken: dict[str, GroupMember] = {}
    limit = packet_limit(session.connection) if rows and is_mysql(session.connection) else None
    for row in rows:
        if limit is not None and weight((row.sealed_result,)) > limit:
            _reduce(row, f"The result is larger than the database takes (max_allowed_packet = {limit}).")
    room = min(BYTES_PER_STATEMENT, limit // 4) if limit else BYTES_PER_STATEMENT
    for portion in batches(rows, _size, most=ROWS_PER_STATEMENT, room=room):
        whole = _inserted(session, portion)
        taken.update((row.pk, row) for row in portion if whole or _insert_one(session, row))
    return taken


def _insert_one(session: Session, row: GroupMember) -> bool:
    if _inserted(session, [row]):
        return True
    if GroupMember.objects.using(session.alias).filter(pk=row.pk).exists():
        return False
    _reduce(row, "The database refused the result.")
    return _inserted(session, [row])


def _inserted(session: Session, rows: Sequence[GroupMember]) -> bool:
    """False if one of the places is taken, or one of the values refused."""
    try:
        with transaction.atomic(using=session.alias):
            GroupMember.objects.using(session.alias).bulk_create(rows)
    except IntegrityError:
        return False
    except DATA_ERRORS as error:
        if not is_data_error(error):
            raise
        return False
    return True


def _reduce(row: GroupMember, reason: str) -> None:
    """A result that cannot be kept is a failure of its member."""
    GROUP_RESULT_UNUSABLE.log(task_id=row.task, error=reason)
    row.sealed_result, row.success, row.error = None, False, reason


def _size(row: GroupMember) -> int:
    return len(row.sealed_result or b"")
