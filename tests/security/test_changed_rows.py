"""Rows that somebody has changed by SQL: what a cluster has not written is not run."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core import serializers
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import override_settings
from django.utils import timezone

from django_cluster import async_task, control
from django_cluster.brokers.messages import Message
from django_cluster.client.client import get_client
from django_cluster.client.retries import retry, retry_many
from django_cluster.core.messages import TaskHeader, TaskPackage
from django_cluster.django_q.shim.utils import scheduler
from django_cluster.errors import BadSignature, PackageError
from django_cluster.models import QueuedTask, Schedule, Task
from django_cluster.models.schedule_seal import is_sealed
from tests.sample import tasks
from tests.security.conftest import Project, Trap, run_all

pytestmark = pytest.mark.django_db


def sql(statement: str, *params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)


def ended(*args: Any, **options: Any) -> Task:
    """The row of a task that has failed."""
    async_task(tasks.fail, *args, **options)
    (row,) = run_all()
    return row


@pytest.mark.parametrize(
    ("column", "value"),
    [("func", "os.getcwd"), ("func", "tests.sample.tasks.nothing"), ("hook", "os.getcwd"), ("queue", "other"),
     ("queue", None), ("options", '{"timeout": 7.0}'), ("options", '{"chain": ["x"], "priority": 5}'),
     ("options", None), ("id", "b" * 32)],
)  # fmt: skip
@pytest.mark.parametrize("args", [(), ("a reason",)], ids=["without arguments", "with arguments"])
def test_a_row_of_which_a_column_was_changed_is_not_run_again(column: str, value: Any, args: tuple[Any, ...]) -> None:
    row = ended(*args, q_options={"priority": 5})
    sql(f"UPDATE django_cluster_task SET {column} = %s", value)
    changed = Task.objects.get()

    with pytest.raises(BadSignature, match="changed in the database"):
        retry(changed)
    report = retry_many([changed.pk])

    assert (report.sent, len(report.errors)) == (0, 1)
    assert not QueuedTask.objects.exists()
    assert row.pk


def test_labels_may_be_changed() -> None:
    ended("x", group="night", task_name="first")
    Task.objects.update(name="second", group=None)

    retry(Task.objects.get())

    assert QueuedTask.objects.count() == 1


def test_arguments_and_results_of_another_row_are_not_opened() -> None:
    async_task(tasks.echo, 1)
    async_task(tasks.echo, 2)
    first, second = run_all()
    Task.objects.filter(pk=first.pk).update(
        sealed_arguments=second.sealed_arguments, sealed_result=second.sealed_result
    )
    first.refresh_from_db()

    for look in (lambda: first.args, lambda: first.result, lambda: retry(first)):
        with pytest.raises(PackageError):
            look()


def test_a_row_without_its_arguments_is_not_run_again_without_them() -> None:
    row = ended("x")
    Task.objects.update(sealed_arguments=None)
    row.refresh_from_db()

    with pytest.raises(BadSignature, match="not kept"):
        retry(row)


def test_the_message_of_another_task_is_not_run_in_its_place(project: Project) -> None:
    project(functions="registered")  # so that both are rejected with their messages
    client = get_client()
    for letter, func in (("a", "tests.sample.tasks.nothing"), ("b", "tests.sample.tasks.echo")):
        package = TaskPackage(header=TaskHeader(id=letter * 32, func=func, name="x", enqueued_at=1.0))
        client.broker.enqueue([Message(client.codec.dumps(package))])
    first, second = run_all()
    project()
    Task.objects.filter(pk=first.pk).update(payload=second.payload)
    Task.objects.filter(pk=second.pk).update(func="os.getcwd")

    for row in Task.objects.all():
        with pytest.raises(BadSignature):
            retry(row)

    assert not QueuedTask.objects.exists()


def test_what_follows_in_a_chain_cannot_be_put_into_a_queue_by_itself() -> None:
    async_task(tasks.nothing, chain=[(tasks.echo, ("later",))])
    header = get_client().codec.loads(QueuedTask.objects.get().payload).header
    QueuedTask.objects.update(payload=header.options.chain[0])

    client = get_client()
    with pytest.raises(BadSignature):
        client.codec.verify(QueuedTask.objects.get().payload)


# ── schedules ────────────────────────────────────────────────────────────────────────────────────


def due(func: str = "tests.sample.tasks.nothing", **more: Any) -> Schedule:
    return Schedule.objects.create(func=func, schedule_type="D", next_run=timezone.now(), **more)


def fired() -> int:
    Schedule.objects.update(claimed_until=None, next_run=timezone.now())
    scheduler()
    return QueuedTask.objects.count()


@pytest.mark.parametrize(
    ("column", "value"),
    [("func", "os.getcwd"), ("hook", "os.getcwd"), ("args", "1"), ("kwargs", "x=1"), ("queue", "other"),
     ("seal", ""), ("intended_date_kwarg", "x"), ("seal", "ab" * 32), ("seal", "no seal")],
)  # fmt: skip
def test_a_schedule_that_was_changed_by_sql_is_not_fired(column: str, value: str) -> None:
    row = due()
    sql(f"UPDATE django_cluster_schedule SET {column} = %s", value)

    assert fired() == 0
    row.refresh_from_db()
    assert "qseal" in row.last_error or column == "queue"  # then another scheduler would say it
    with pytest.raises(BadSignature):
        control.run_now(row)


def test_a_schedule_that_was_added_by_sql_is_not_fired(trap: Trap) -> None:
    due()
    columns = [field.column for field in Schedule._meta.concrete_fields if field.column not in ("id", "func", "seal")]
    names = ", ".join(f'"{name}"' for name in columns)
    source = f"SELECT {names}, %s, %s FROM django_cluster_schedule"
    statement = f"INSERT INTO django_cluster_schedule ({names}, func, seal) {source}"
    sql(statement, trap.func, "")

    assert fired() == 1
    assert not trap.sprung


def test_a_count_at_the_end_of_its_column_stops_no_schedule() -> None:
    row = due()
    due()
    sql("UPDATE django_cluster_schedule SET runs = 9223372036854775807 WHERE id = %s", row.pk)

    assert fired() == 2


def test_every_way_of_the_orm_seals() -> None:
    created = due()
    Schedule.objects.bulk_create([Schedule(func="tests.sample.tasks.nothing", schedule_type="D")])
    Schedule.objects.update(args="1", func="tests.sample.tasks.echo")
    created.refresh_from_db()
    created.kwargs = "x=2"
    Schedule.objects.bulk_update([created], ["kwargs"])
    Schedule.objects.filter(pk=created.pk).update_or_create(pk=created.pk, defaults={"args": "7"})
    created.refresh_from_db()
    created.hook = "tests.sample.tasks.echo"
    created.save(update_fields=["hook"])

    assert all(map(is_sealed, Schedule.objects.all()))
    assert fired() == 2


def test_a_fixture_is_sealed_when_it_is_loaded() -> None:
    text = serializers.serialize("json", [due()]).replace("tasks.nothing", "tasks.echo")
    Schedule.objects.all().delete()

    for each in serializers.deserialize("json", text):
        each.save()

    assert fired() == 1


def test_saving_a_row_for_another_reason_vouches_for_nothing() -> None:
    row = due()
    sql("UPDATE django_cluster_schedule SET func = 'os.getcwd'")
    row = Schedule.objects.get()
    row.name = "renamed"
    row.save()
    Schedule.objects.update(args="1")

    assert not is_sealed(Schedule.objects.get())
    assert row.name == "renamed"


def change_by_sql(column: str = "hook") -> Schedule:
    """A schedule that somebody has made to call more than the project said."""
    row = due(args="1")
    sql(f"UPDATE django_cluster_schedule SET {column} = 'os.getcwd', args = '2'")
    return row


@pytest.mark.parametrize("column", ["hook", "func"])
def test_who_changes_one_column_does_not_vouch_for_the_others(column: str) -> None:
    change_by_sql(column)

    # As many projects do it on each deployment.
    Schedule.objects.update_or_create(schedule_type="D", defaults={"args": "1", "queue": ""})

    assert not is_sealed(Schedule.objects.get())
    assert fired() == 0


@pytest.mark.parametrize("names", [("name",), ("args",), ("args", "seal"), ("func", "seal", "args")])
@pytest.mark.parametrize("some", [None, ["args"]])
@pytest.mark.parametrize("changed", [True, False])
def test_a_row_that_was_read_in_part_is_sealed_only_if_it_was(
    names: tuple[str, ...], some: list[str] | None, changed: bool
) -> None:
    if changed:
        change_by_sql()
    else:
        due()
    row = Schedule.objects.only(*names).get()
    row.args = "7"
    row.save(update_fields=some)

    assert is_sealed(Schedule.objects.get()) is not changed
    assert fired() == (not changed)


def test_reading_or_saving_one_column_leaves_changes_of_others_changes() -> None:
    due(args="1", repeats=9)
    row = Schedule.objects.get()
    row.args, row.repeats = "7", 5
    row.refresh_from_db(fields=["name"])
    row.save(update_fields=["name"])
    row.save()

    row = Schedule.objects.get()
    assert (row.args, row.repeats, is_sealed(row)) == ("7", 5, True)


def test_the_model_of_a_migration_seals_only_what_was_sealed() -> None:
    executor = MigrationExecutor(connection)
    historical = executor.loader.project_state(executor.loader.graph.leaf_nodes("django_cluster"))
    rows = historical.apps.get_model("django_cluster", "Schedule").objects
    due()
    row = rows.get()
    row.args = "7"
    row.save()
    assert is_sealed(Schedule.objects.get())

    sql("UPDATE django_cluster_schedule SET hook = 'os.getcwd'")
    row = rows.get()
    row.name = "renamed"
    row.save()
    assert not is_sealed(Schedule.objects.get())


def test_qseal_lists_them_and_seals_those_that_are_named() -> None:
    row, out = due(), StringIO()
    sql("UPDATE django_cluster_schedule SET args = '5', func = 'tests.sample.tasks.echo'")

    call_command("qseal", stdout=out)
    assert fired() == 0
    call_command("qseal", str(row.pk), stdout=out)

    assert "tests.sample.tasks.echo(5)" in out.getvalue()
    assert fired() == 1


def test_qseal_is_not_deceived_by_what_it_shows() -> None:
    due()
    sql("UPDATE django_cluster_schedule SET args = %s, func = %s", "5\n2 y: harmless\x1b[2K", "os.getcwd\r\u202e")
    out = StringIO()

    call_command("qseal", stdout=out)

    assert len(out.getvalue().splitlines()) == 1
    assert "os.getcwd\\r\\u202e(5\\n2 y: harmless\\x1b[2K)" in out.getvalue()


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────


def test_after_a_rotation_rows_messages_and_schedules_are_still_ours() -> None:
    with override_settings(SECRET_KEY="the old key", SECRET_KEY_FALLBACKS=[]):
        failed, schedule = ended("x"), due()
        async_task(tasks.nothing, chain=[(tasks.echo, (1,))])
    with override_settings(SECRET_KEY="the new key", SECRET_KEY_FALLBACKS=["the old key"]):
        assert failed.args == ("x",)
        retry(failed)
        assert fired() == 3
        statuses = [row.status for row in run_all()]
        assert sorted(statuses) == ["failure", "success", "success", "success"]
    with override_settings(SECRET_KEY="the new key", SECRET_KEY_FALLBACKS=[]):
        assert is_sealed(Schedule.objects.get(pk=schedule.pk))
        assert fired() == 1
        with pytest.raises(BadSignature):
            _ = failed.args


@pytest.mark.parametrize("key", [b"bytes", b"\xff\xfe not UTF-8", "text"])
def test_a_key_may_be_bytes_and_is_in_no_error(key: Any) -> None:
    with override_settings(SECRET_KEY=key, SECRET_KEY_FALLBACKS=[b"\xfe older"]):
        row, schedule = ended("x"), due()
        assert row.args == ("x",)
        assert fired() == 1
        assert is_sealed(schedule)
    with override_settings(SECRET_KEY="another"), pytest.raises(BadSignature) as caught:
        _ = row.args

    assert "bytes" not in str(caught.value)
