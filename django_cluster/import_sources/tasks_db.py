"""``qimport tasks_db``: waiting rows of django-tasks-db, the database backend of Django's Tasks framework.

They are sent by ``ClusterBackend`` under their ids; the rows are deleted in the same transaction, where there is one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import connections, transaction

from django_cluster.backend import ClusterBackend
from django_cluster.backend.sending import PreparedCall, prepare, submit
from django_cluster.conf import written_setting
from django_cluster.core.import_paths import load_object
from django_cluster.framework.compat import backend_of
from django_cluster.importing.options import ImportOptions
from django_cluster.importing.report import ImportReport, NotImportable

TABLE = "django_tasks_database_dbtaskresult"
LAST_YEAR = 9000
"""A later moment means that a row may run now."""


def run(options: ImportOptions) -> Iterator[ImportReport]:
    """One report."""
    report = ImportReport("Queue")
    connection = connections[options.database]
    if TABLE not in connection.introspection.table_names():
        report.missing = f"The database {options.database!r} has no table {TABLE}."
    else:
        _Mover(connection, options).run(report)
    yield report


class _Mover:
    def __init__(self, connection: Any, options: ImportOptions) -> None:
        self._connection, self._table, self._options = connection, connection.ops.quote_name(TABLE), options
        self._backends = _cluster_backends()

    def run(self, report: ImportReport) -> None:
        for row in self._waiting():
            try:
                call = self._call(row)
            except NotImportable as reason:
                report.leave(str(reason))
                continue
            if self._options.dry_run or self._move(row, call):
                report.imported += 1
        running = self._execute("SELECT COUNT(*) FROM {} WHERE status = 'RUNNING'")[0][0]
        if running:
            report.leave("is being run by a worker of django-tasks-db.", running)

    def _waiting(self) -> list[dict[str, Any]]:
        names = ("id", "args_kwargs", "priority", "task_path", "queue_name", "backend_name", "run_after")
        columns, order = ", ".join(names), "enqueued_at, id"  # an id is random
        rows = self._execute(f"SELECT {columns} FROM {{}} WHERE status IN ('READY', 'NEW') ORDER BY {order}")  # noqa: S608
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _move(self, row: dict[str, Any], call: PreparedCall) -> bool:
        """Delete the row and send its task; False if a worker has taken it meanwhile."""
        with transaction.atomic(using=self._options.database):
            with self._connection.cursor() as cursor:
                sql = f"DELETE FROM {self._table} WHERE id = %s AND status IN ('READY', 'NEW')"  # noqa: S608
                cursor.execute(sql, [row["id"]])
                if not cursor.rowcount:
                    return False
            submit([call], on_commit=False)
        return True

    def _call(self, row: dict[str, Any]) -> PreparedCall:
        backend = self._backends.get(row["backend_name"]) or next(iter(self._backends.values()), None)
        if backend is None:
            raise NotImportable("needs ClusterBackend, which TASKS does not name.")
        try:
            task = load_object(row["task_path"])
            due = _moment(row["run_after"])
            task = task.using(priority=row["priority"], queue_name=row["queue_name"], run_after=due)
            arguments = _json(row["args_kwargs"])
            call = prepare(backend, task, arguments["args"], arguments["kwargs"])
        except Exception as error:
            raise NotImportable(f"cannot be sent here: {type(error).__name__}: {error}") from error
        package = call.package.with_id(UUID(str(row["id"])).hex, call.package.header.name)
        return call._replace(package=package)

    def _execute(self, sql: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql.format(self._table))
            return list(cursor.fetchall())


def _cluster_backends() -> dict[str, Any]:
    found = {alias: backend_of(alias) for alias in written_setting("TASKS") or {}}
    return {alias: backend for alias, backend in found.items() if isinstance(backend, ClusterBackend)}


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, (str, bytes)) else value


def _moment(value: Any) -> datetime | None:
    found = datetime.fromisoformat(value) if isinstance(value, str) else value
    if found is None or found.year > LAST_YEAR:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
