"""What ``qimport`` reads beside Django-Q: celery_beat, rq, huey, tasks_db. None of their packages need be installed."""
