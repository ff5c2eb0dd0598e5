"""What ``manage.py qimport`` says where it cannot read Django-Q's queue."""

from __future__ import annotations

import sys

import pytest
from django.core.management import CommandError, call_command


@pytest.mark.django_db
def test_a_queue_in_redis_is_not_read_without_redis_py(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)

    with pytest.raises(CommandError, match="Django-Q's queue in Redis cannot be read without redis-py: pip install '"):
        call_command("qimport", "django_q", redis="redis://localhost", only="queue")
