"""Import of Django-Q's schedules, results and queued tasks."""
