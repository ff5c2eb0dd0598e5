"""The tasks of docs/how-to/send-tasks.md."""

from __future__ import annotations

from typing import Any

said: list[Any] = []


def remind(customer: int, urgent: bool = False) -> None:
    said.append((customer, urgent))


def price_of(article: int) -> int:
    return 10 * article


def tell(task: Any) -> None:
    said.append((task.success, task.result))


def published(day: str) -> bool:
    return day != "tomorrow"


def is_holiday(day: str) -> bool:
    return day == "Sunday"


def download(day: str) -> list[int]:
    if day == "Monday":
        raise ConnectionError("nobody answers")
    return [1, 2]
