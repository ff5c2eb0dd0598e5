"""The sidebar of the documentation: sections and pages, ordered by hand."""

from __future__ import annotations

SIDEBAR = {
    "Start": ["tutorial/first-task", "how-to/install"],
    "Using tasks": [
        "how-to/send-tasks",
        "how-to/async-tasks",
        "how-to/task-objects",
        "how-to/cancel-tasks",
        "Django's Tasks framework <how-to/django-tasks>",
        "how-to/queues",
        "how-to/middleware",
        "how-to/develop",
        "how-to/test-your-tasks",
        "how-to/retention",
        "how-to/report-errors",
        "how-to/post-mortem",
    ],
    "Schedules and workflows": ["how-to/schedules", "Workflows <how-to/compose-tasks>"],
    "Brokers": [
        "how-to/choose-a-broker",
        "What each broker can do <reference/brokers>",
        "how-to/databases",
        "Redis and Valkey <how-to/redis>",
        "RabbitMQ <how-to/rabbitmq>",
        "Amazon SQS <how-to/sqs>",
        "MongoDB <how-to/mongodb>",
        "IronMQ <how-to/ironmq>",
        "Disque <how-to/disque>",
        "how-to/write-a-broker",
    ],
    "Production": [
        "how-to/deploy",
        "Monitor and operate <how-to/monitor>",
        "how-to/service",
        "how-to/admin",
        "how-to/dashboard",
        "how-to/logging",
        "how-to/why-does-my-task-not-run",
        "how-to/troubleshooting",
        "how-to/upgrade",
        "Chaos test <how-to/chaos>",
    ],
    "Moving here": [
        "how-to/moving-from-django-q",
        "Defects of Django-Q <explanation/defects-of-django-q>",
        "From other task queues <how-to/from-other-task-queues>",
    ],
    "Reference": [
        "reference/settings",
        "reference/api",
        "reference/signals",
        "reference/errors",
        "reference/commands",
        "Options of the commands <reference/command-options>",
        "reference/checks",
        "reference/log-events",
        "reference/glossary",
        "reference/changelog",
    ],
    "Explanation": [
        "Delivery <explanation/delivery>",
        "Security <explanation/security>",
        "Architecture <explanation/architecture>",
        "explanation/performance",
        "Performance notes <explanation/performance-notes>",
    ],
}
"""Captions, and the pages below each: paths in ``docs`` without ``.md``, as they are or as ``Short title <path>``."""


def page_of(entry: str) -> str:
    """The path of a page, without the title that the sidebar shows for it."""
    return entry.rpartition("<")[2].rstrip(">")


def toctrees() -> str:
    """The sidebar as MyST writes it: one table of contents for each section."""
    sections = []
    for caption, entries in SIDEBAR.items():
        pages = "\n".join(entries)
        sections.append(f"\n```{{toctree}}\n:caption: {caption}\n:hidden:\n\n{pages}\n```\n")
    return "".join(sections)
