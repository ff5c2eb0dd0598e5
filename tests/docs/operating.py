"""The example of docs/how-to/monitor.md, which shows the part between the two marks."""

# begin
from __future__ import annotations

from django_cluster import control


def quiet_hours(queue: str) -> str:
    """Pause a queue, and say who is still at work on it."""
    control.pause(queue, by="quiet hours")
    at_work = [
        worker.task.name
        for cluster in control.clusters()
        if queue in cluster.queues
        for worker in cluster.workers
        if worker.task
    ]
    return f"{queue} is paused; still running: {', '.join(at_work) or 'nothing'}"


def morning(queue: str) -> bool:
    """Whether it had been paused."""
    return control.resume(queue)


# end
