"""The document on the task module of django-cfg (003): tasks; its service is tested elsewhere."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from freezegun import freeze_time

from django_cluster import result
from django_cluster.brokers import memory
from django_cluster.conf import load_cluster, load_settings
from django_cluster.models import Task
from django_cluster.testing import assert_enqueued, assert_not_enqueued, enqueued, fail_at, run_pending, run_schedules
from tests.seeds import cfg_tasks as tasks
from tests.seeds.cfg_tasks import process_large_dataset, send_email_notification

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def project(settings: Any) -> None:
    """The settings of the section on TaskConfig; in production ``broker_url`` is that of the example."""
    settings.Q_CLUSTER = {
        **{"broker_url": "memory://", "workers": 8, "timeout": 300, "max_attempts": 4, "retry_delay": 60},
        "ALT_CLUSTERS": {"emails": {}, "processing": {}},
    }
    settings.MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}  # from Django 6.1 on
    memory.reset()
    tasks.loaded.clear()


@pytest.fixture
def user() -> User:
    return User.objects.create(pk=123, username="ada", email="ada@example.com")


def test_the_settings_of_the_example() -> None:
    settings = load_settings()

    assert (settings.processes.workers, settings.processes.timeout) == (8, 300)
    assert (settings.delivery.max_attempts, settings.delivery.retry_delay) == (4, 60)
    assert set(load_cluster(["*"]).queues) == {"default", "emails", "processing"}


@pytest.mark.usefixtures("user")
def test_a_task_is_called_asynchronously_with_send() -> None:
    message = send_email_notification.send(user_id=123, message="Hello!")
    run_pending()

    assert message.result(timeout=0) == "Email sent to ada@example.com"
    assert [each.body for each in mail.outbox] == ["Hello!"]


def test_the_options_of_the_decorator_mean_what_their_comments_say() -> None:
    message = process_large_dataset.send(dataset_id=456)

    sent = assert_enqueued(process_large_dataset, kwargs={"dataset_id": 456}, queue="emails")
    assert (sent.options.priority, sent.options.timeout) == (10, 60)
    with fail_at(process_large_dataset, 1, 2, 3):
        assert len(run_pending(until=timedelta(days=1))) == 4  # the first run and three retries
    assert message.result(timeout=0) == "Processed 0 records of 456"


def test_a_task_that_is_called_runs_here() -> None:
    assert process_large_dataset(dataset_id=456) == "Processed 0 records of 456"
    assert_not_enqueued()


def test_a_delay_of_an_hour_is_given_in_milliseconds() -> None:
    with freeze_time("2030-01-01 12:00") as clock:
        message = process_large_dataset.send_with_options(args=(456,), delay=3600000)
        clock.tick(3599)
        assert run_pending() == []
        clock.tick(1)
        assert run_pending() == [message.message_id]


@pytest.mark.usefixtures("user")
def test_what_is_more_important_is_sent_first() -> None:
    tasks.send_bulk_newsletter.send(newsletter_id=1)
    tasks.send_welcome_email.send(user_id=123)
    run_pending("emails")

    assert [each.subject for each in mail.outbox] == ["Welcome ada!", "Newsletter 1"]


def test_a_step_sends_the_next_one() -> None:
    tasks.extract_data.send(7)
    ids = run_pending("processing")

    assert [result(each) for each in ids] == ["Extracted 2 records", "Transformed 2 records", "Loaded 2 records"]
    assert tasks.loaded == [{"source": 7, "rows": [2, 4, 6]}]


def test_periodic_tasks_run_again_and_again() -> None:
    tasks.cleanup_old_sessions.schedule(name="cleanup", schedule_type="I", minutes=720)
    tasks.backup_database.schedule(name="backup", schedule_type="D")
    run_schedules(until=timedelta(hours=25))

    sent = [each.func.rpartition(".")[2] for each in enqueued()]
    assert (sent.count("cleanup_old_sessions"), sent.count("backup_database")) == (3, 2)


def test_the_result_of_each_task_is_a_row() -> None:
    tasks.tracked_task.send({"id": 1})
    run_pending()

    (row,) = Task.objects.filter(func="tests.seeds.cfg_tasks.tracked_task")
    assert (row.status, row.result) == ("success", {"id": 1})
