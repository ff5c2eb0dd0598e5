"""The tasks of docs/how-to/compose-tasks.md: a small shop's night."""

from __future__ import annotations

letters: list[str] = []


def fetch_orders(day: str) -> int:
    letters.append(f"fetched {day}")
    return 3


def make_invoices(day: str) -> str:
    if day == "a holiday":
        raise ValueError("nobody works today")
    letters.append(f"invoiced {day}")
    return f"invoices of {day}"


def send_invoices(day: str) -> None:
    letters.append(f"sent {day}")


def area(width: int, height: int, unit: str = "cm²") -> str:
    if width < 0:
        raise ValueError(f"{width} is no width")
    return f"{width * height} {unit}"


def tell_boss(about: str) -> None:
    letters.append(f"told: {about}")
