"""What a project brings along from Django-Q: its schedules, its results, and the tasks that still wait."""
