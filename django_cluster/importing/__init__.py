"""Import of schedules, rows and waiting tasks from other task queues; Django-Q's are in ``django_q/importer``."""
