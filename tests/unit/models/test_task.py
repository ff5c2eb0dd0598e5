"""``Task``: what was called, what came of it, and the questions of Django-Q."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import override_settings
from django.utils import timezone

from django_cluster.core.sealed_rows import arguments_context, result_context, seal_arguments
from django_cluster.core.signing import ValueSigner
from django_cluster.errors import BadSignature, PackageError, UnknownFormat
from django_cluster.models import Failure, Success, Task
from django_cluster.models.row_signing import row_signer
from tests.sealed import sealed_arguments, sealed_result

ID = "0123456789abcdef" * 2
FUNC = "tests.sample.tasks.add"
CONTEXT = arguments_context(ID, FUNC, {}, hook=None, success=True)


def make_task(**changes: Any) -> Task:
    now = timezone.now()
    fields: dict[str, Any] = {
        "id": ID,
        "name": "red-green",
        "func": FUNC,
        "status": "success" if changes.get("success", True) else "failure",
        "success": True,
        "enqueued_at": now - timedelta(seconds=5),
        "started_at": now - timedelta(seconds=3),
        "stopped_at": now,
    }
    return Task(**{**fields, **changes})


def test_arguments_are_opened_when_asked_for() -> None:
    task = make_task(sealed_arguments=sealed_arguments(((1, 2), {"x": 3}), id=ID, func=FUNC, success=True))

    assert task.args == (1, 2)
    assert task.kwargs == {"x": 3}


def test_arguments_in_json_are_a_tuple_as_well() -> None:
    task = make_task(sealed_arguments=seal_arguments(row_signer(), b"J", b'[[1,2],{"x":3}]', "", CONTEXT))

    assert task.args == (1, 2)
    assert task.kwargs == {"x": 3}


def test_no_arguments_are_none_at_all() -> None:
    assert (make_task().args, make_task().kwargs) == ((), {})


def test_arguments_of_another_shape_are_refused() -> None:
    with pytest.raises(UnknownFormat):
        _ = make_task(sealed_arguments=seal_arguments(row_signer(), b"J", b"5", "", CONTEXT)).args


def test_the_result_of_a_success_is_its_value() -> None:
    assert make_task(sealed_result=sealed_result([1], ID)).result == [1]
    assert make_task(sealed_result=memoryview(sealed_result([1], ID) or b"")).result == [1]
    assert make_task().result is None


def test_the_result_of_a_failure_is_its_error() -> None:
    task = make_task(success=False, error_message="no good", error_traceback="Traceback …")

    assert task.result == "no good : Traceback …"
    assert make_task(success=False, error_message="lost").result == "lost"


def test_a_value_sealed_with_an_older_key_is_still_read() -> None:
    with override_settings(SECRET_KEY="old", SECRET_KEY_FALLBACKS=[]):
        sealed = sealed_result({"a": 1}, ID)

    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"]):
        assert make_task(sealed_result=sealed).result == {"a": 1}


def test_a_value_sealed_with_a_foreign_key_is_never_opened() -> None:
    with pytest.raises(BadSignature):
        _ = make_task(sealed_result=ValueSigner("foreign").dumps({"a": 1}, result_context(ID))).result


@pytest.mark.parametrize("sealed", [b"", b"?", b"P", b"P" + bytes(50), b"J", b"J{"])
def test_an_unreadable_value_raises_one_kind_of_error(sealed: bytes) -> None:
    with pytest.raises(PackageError):
        _ = make_task(sealed_result=sealed).result


def test_times_keep_their_old_meaning() -> None:
    task = make_task()

    assert task.started == task.enqueued_at
    assert task.stopped == task.stopped_at
    assert task.time_taken() == 5
    assert task.run_time == 3


def test_a_task_is_called_by_its_name() -> None:
    assert str(make_task()) == "red-green"
    assert str(make_task(name="")) == ID


@pytest.mark.django_db
class TestQuestions:
    """Django-Q's questions, asked of the table."""

    def test_an_id_goes_before_a_name(self) -> None:
        make_task().save()
        make_task(id="f" * 32, name=ID).save()

        found = Task.get_task(ID)

        assert found is not None
        assert found.id == ID

    def test_of_tasks_with_one_name_the_newest_is_found(self) -> None:
        now = timezone.now()
        for number in range(3):
            make_task(id=f"{number}" * 32, stopped_at=now + timedelta(seconds=number)).save()

        found = Task.get_task("red-green")

        assert found is not None
        assert found.id == "2" * 32

    def test_an_unknown_task_is_none(self) -> None:
        assert Task.get_task(ID) is None
        assert Task.get_task("") is None
        assert Task.get_result(ID) is None

    def test_the_result_is_found_by_id_and_by_name(self) -> None:
        make_task(sealed_result=sealed_result(42, ID)).save()

        assert Task.get_result(ID) == 42
        assert Task.get_result("red-green") == 42

    def test_a_group_knows_its_members(self) -> None:
        for number, success in enumerate((True, True, False)):
            sealed = sealed_result(number, f"{number}" * 32) if success else None
            make_task(
                id=f"{number}" * 32, group="primes", success=success, sealed_result=sealed, error_message="no good"
            ).save()

        assert sorted(Task.get_result_group("primes")) == [0, 1]
        assert "no good" in Task.get_result_group("primes", failures=True)
        assert Task.get_task_group("primes").count() == 3
        assert Task.get_task_group("primes", failures=False).count() == 2
        assert Task.get_group_count("primes") == 3
        assert Task.get_group_count("primes", failures=True) == 1

    def test_a_member_can_speak_for_its_group(self) -> None:
        member = make_task(group="primes", sealed_result=sealed_result(7, ID))
        member.save()

        assert member.group_result() == [7]
        assert member.group_count() == 1
        assert member.group_delete() == 1
        assert Task.get_group_count("primes") == 0
        assert Task.objects.count() == 1

    def test_a_task_without_a_group_speaks_for_nobody(self) -> None:
        task = make_task()

        assert (task.group_result(), task.group_count(), task.group_delete(tasks=True)) == ([], 0, 0)

    def test_a_group_can_be_deleted_with_its_tasks(self) -> None:
        make_task(group="primes").save()

        assert Task.delete_group("primes", objects=True) == 1
        assert not Task.objects.exists()

    def test_successes_and_failures_are_parts_of_the_whole(self) -> None:
        make_task().save()
        make_task(id="f" * 32, success=False).save()

        assert [task.id for task in Success.objects.all()] == [ID]
        assert [task.id for task in Failure.objects.all()] == ["f" * 32]
