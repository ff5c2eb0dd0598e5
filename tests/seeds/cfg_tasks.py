"""The tasks of the document on the task module of django-cfg (003), in their order, in the words of this package."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, User
from django.contrib.sessions.models import Session
from django.core.mail import send_mail
from django.utils.timezone import now

from django_cluster import task

loaded: list[Any] = []


# "Basic Task Definition"
@task
def send_email_notification(user_id: int, message: str) -> str:
    user = User.objects.get(id=user_id)
    send_mail(subject="Notification", message=message, from_email="noreply@example.com", recipient_list=[user.email])
    return f"Email sent to {user.email}"


# "`@task` Decorator"
@task(
    queue_name="emails",  # Custom queue
    max_retries=3,  # Retry failed tasks
    priority=10,  # Task priority (higher = more important)
    time_limit=60000,  # Timeout in milliseconds
)
def process_large_dataset(dataset_id: int) -> str:
    return f"Processed {User.objects.count()} records of {dataset_id}"


# "Pattern 1: Email Queue"
@task(queue_name="emails", priority=10)
def send_welcome_email(user_id: int) -> None:
    user = User.objects.get(id=user_id)
    send_mail(
        subject=f"Welcome {user.username}!",
        message="Thank you for joining...",
        from_email="welcome@myapp.com",
        recipient_list=[user.email],
    )


@task(queue_name="emails", priority=5)
def send_bulk_newsletter(newsletter_id: int) -> None:
    for subscriber in User.objects.order_by("pk"):
        send_mail(
            subject=f"Newsletter {newsletter_id}",
            message="...",
            from_email="newsletter@myapp.com",
            recipient_list=[subscriber.email],
        )


# "Pattern 2: Data Processing Pipeline"
@task(queue_name="processing")
def extract_data(source_id: int) -> str:
    data = {"source": source_id, "rows": [1, 2, 3]}
    transform_data.send(data=data)  # Chain to next step
    return f"Extracted {len(data)} records"


@task(queue_name="processing")
def transform_data(data: dict[str, Any]) -> str:
    transformed = {**data, "rows": [each * 2 for each in data["rows"]]}
    load_data.send(data=transformed)  # Chain to next step
    return f"Transformed {len(transformed)} records"


@task(queue_name="processing")
def load_data(data: dict[str, Any]) -> str:
    loaded.append(data)
    return f"Loaded {len(data)} records"


# "Pattern 3: Scheduled Maintenance"
@task
def cleanup_old_sessions() -> None:
    Session.objects.filter(expire_date__lt=now()).delete()


@task
def backup_database() -> str:
    return f"backup-{now().date()}.sql"


# "Integration with Tasks App"
@task
def tracked_task(data: dict[str, Any]) -> dict[str, Any]:
    Group.objects.create(name=f"tracked {data['id']}")  # rows of the task's own; its result has one anyhow
    return data
