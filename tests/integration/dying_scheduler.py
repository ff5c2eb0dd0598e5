"""A scheduler that is killed at one point of its work.

Arguments: entry of DATABASES and broker section (both JSON), moment, point, SECRET_KEY, with which the rows are sealed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django_cluster"],
    DATABASES={"default": json.loads(sys.argv[1])},
    SECRET_KEY=sys.argv[5],
    USE_TZ=True,
)
django.setup()

from django_cluster.brokers import open_broker  # noqa: E402  Django comes first
from django_cluster.core.codec import Codec  # noqa: E402
from django_cluster.core.settings import BrokerSettings, ScheduleSettings, SigningSettings  # noqa: E402
from django_cluster.lifecycle.send import TaskRouter  # noqa: E402
from django_cluster.schedules import claims  # noqa: E402
from django_cluster.schedules.dispatcher import ScheduleDispatcher  # noqa: E402


def die(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def then_die(verb: Callable[..., Any]) -> Callable[..., Any]:
    def done(*arguments: Any, **keywords: Any) -> None:
        verb(*arguments, **keywords)
        die()

    return done


def main(section: dict[str, Any], moment: str, point: str) -> None:
    broker = open_broker(BrokerSettings(**section))
    router = TaskRouter(Codec(SigningSettings(secret="a secret for tests")), broker)
    send: Callable[[Sequence[Any]], None] = router.send_once
    sent: Callable[[Sequence[Any]], None] = router.forget
    if point == "before the claim is kept":
        claims.ScheduleClaims.claim = then_die(claims.ScheduleClaims.claim)  # type: ignore[method-assign]  # a fault, put in
    if point == "before it is sent":
        send = die
    if point == "after it was sent":
        send = then_die(send)
    if point == "before the next run is kept":
        claims.ScheduleClaims.advance = then_die(claims.ScheduleClaims.advance)  # type: ignore[method-assign]  # likewise
    if point == "after the next run was kept":
        sent = die
    dispatcher = ScheduleDispatcher(
        ScheduleSettings(time_zone="Europe/Amsterdam"),
        queue="tests",
        is_default=True,
        send=send,
        sent=sent,
        broker_database=broker.database,
    )
    dispatcher.fire_due(datetime.fromisoformat(moment))


main(json.loads(sys.argv[2]), sys.argv[3], sys.argv[4])
