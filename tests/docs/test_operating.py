"""The example of docs/how-to/monitor.md does what the page says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from django_cluster import control
from django_cluster.stores.status import StatusStore
from tests.docs.operating import morning, quiet_hours
from tests.unit.stores.test_status import STATUS


@pytest.mark.django_db
def test_quiet_hours_pause_a_queue_and_the_morning_resumes_it() -> None:
    StatusStore().publish(replace(STATUS, queues=("mail",)))

    assert quiet_hours("mail") == "mail is paused; still running: ten green bottles"
    assert quiet_hours("reports") == "reports is paused; still running: nothing"
    assert [(pause.queue, pause.by) for pause in control.paused()] == [
        ("mail", "quiet hours"), ("reports", "quiet hours"),
    ]  # fmt: skip

    assert morning("mail")
    assert not morning("mail")
    assert [pause.queue for pause in control.paused()] == ["reports"]
