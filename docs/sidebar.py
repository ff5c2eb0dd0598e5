"""The sidebar of the documentation: sections and pages, ordered by hand."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).resolve().parent

SIDEBAR = {
    "Start": ["tutorial/first-task", "how-to/install"],
    "Using tasks": [
        "how-to/send-tasks",
        "how-to/queues",
        "how-to/test-your-tasks",
        "how-to/retention",
        "how-to/report-errors",
    ],
    "Schedules and workflows": ["how-to/schedules", "how-to/compose-tasks"],
    "Brokers": [
        "how-to/choose-a-broker",
        "reference/brokers",
        "how-to/databases",
        "how-to/redis",
        "how-to/rabbitmq",
        "how-to/sqs",
        "how-to/mongodb",
        "how-to/ironmq",
        "how-to/disque",
        "how-to/write-a-broker",
    ],
    "Production": [
        "how-to/deploy",
        "how-to/monitor",
        "how-to/admin",
        "how-to/logging",
        "how-to/why-does-my-task-not-run",
        "how-to/troubleshooting",
        "how-to/upgrade",
        "how-to/chaos",
    ],
    "Django-Q": ["how-to/moving-from-django-q", "explanation/defects-of-django-q"],
    "Reference": [
        "reference/settings",
        "reference/api",
        "reference/signals",
        "reference/errors",
        "reference/commands",
        "reference/checks",
        "reference/log-events",
        "reference/glossary",
        "reference/changelog",
    ],
    "Explanation": [
        "explanation/delivery",
        "explanation/security",
        "explanation/architecture",
        "explanation/performance",
    ],
}
"""Captions, and the pages below each: paths in ``docs``, without ``.md``."""


def toctrees() -> str:
    """The sidebar as MyST writes it: one table of contents for each section."""
    sections = []
    for caption, pages in SIDEBAR.items():
        there = "\n".join(page for page in pages if (DOCS / f"{page}.md").exists())
        sections.append(f"\n```{{toctree}}\n:caption: {caption}\n:hidden:\n\n{there}\n```\n")
    return "".join(sections)
