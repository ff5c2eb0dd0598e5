"""The tasks of the documents on ReArq (000 and 001), in their order, in the words of this package.

Most ``async def`` became ``def``, as code that blocks is written here; ``async def`` tasks run, too.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.sessions.models import Session
from django.utils import timezone

from django_cluster import Discard, task

calls: list[str] = []


class TemporaryError(Exception):
    """The service is away for a while."""


class PermanentError(Exception):
    """The service will never do this."""


# 001, "Define Tasks"
@task(queue="default")
def send_email(to: str, subject: str, body: str) -> dict[str, Any]:
    return {"sent": True, "to": to}


# 001, "Health Checks", as a task
@task
async def health_check() -> str:
    return "ok"


# 001, "Define Tasks"; with @cron_task("0 * * * *")
def cleanup_old_data() -> dict[str, int]:
    cutoff = timezone.now() - timedelta(days=7)
    deleted = Session.objects.filter(expire_date__lt=cutoff).delete()
    return {"deleted": deleted[0]}


# 001, "@task - Background Tasks"
@task(queue="default", job_retry=3, job_timeout=300)
def process_data(data_id: str, options: dict[str, Any] | None = None) -> dict[str, bool]:
    return {"processed": True}


# 000, "Per-Task Override"
@task(job_timeout=60)
def quick_task() -> None: ...


@task(job_timeout=1800)
def long_task() -> None: ...


# 000, "Retry Strategies"
@task(job_retry=5, job_retry_after=300)
def conservative_task() -> None: ...


@task(job_retry=3, job_retry_after=30)
def aggressive_task() -> None: ...


@task(job_retry=5, job_retry_after=60, retry_strategy="exponential")
def smart_retry_task() -> None: ...


@task(job_retry=0)
def task_without_retries() -> None: ...


# 000, "Define custom queues"
@task(queue="emails")
def send_email_of_queue(to: str, subject: str) -> None:
    calls.append(f"email {subject}")


@task(queue="reports")
def generate_report(report_id: int) -> None:
    calls.append(f"report {report_id}")


@task(queue="critical")
def urgent_task() -> None:
    calls.append("urgent")


# 000, "Graceful Degradation"
async def external_api_call(user_id: int) -> str:
    if user_id < 0:
        raise PermanentError("no such user")
    if len(calls) < user_id:
        calls.append("away")
        raise TemporaryError("away")
    return "data"


@task(job_retry=3, job_retry_after=60)
def resilient_task(user_id: int) -> dict[str, Any]:
    try:
        result = async_to_sync(external_api_call)(user_id)
        return {"success": True, "result": result}
    except TemporaryError:
        raise  # retried
    except PermanentError as error:
        return {"success": False, "error": str(error)}  # not retried; `raise Discard(...)` says it without a result


@task(job_retry=3)
def discarding_task() -> None:
    raise Discard("Permanent error")


# 000, "Timeout Too Short"
@task
def ml_inference() -> str:
    return "a cat"


@task(job_timeout=900)
def ml_inference_with_its_own_limit() -> str:
    return "a cat"
