"""What the shop does in the background."""

# ruff: noqa: I002  a project of somebody else
import os
from pathlib import Path
from typing import Any

from django_cluster.models import Schedule
from django_cluster.tasks import async_task, schedule


def place_order(number: int) -> None:
    async_task(send_invoice, number, hook="shop.tasks.celebrate", group="invoices", timeout=30)


def send_invoice(number: int) -> str:
    return f"invoice {number}"


def celebrate(task: Any) -> None:
    note(f"{task.result} was sent: {task.success}")


def set_up_reports() -> None:
    schedule("shop.tasks.report", name="daily report", schedule_type=Schedule.DAILY)


def report() -> None:
    note("the report is made")


def note(line: str) -> None:
    with Path(os.environ["SHOP_NOTES"]).open("a") as file:
        file.write(f"{line}\n")
