"""The fetcher, whatever a broker lends it and whatever its codec raises."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from django_cluster.brokers.messages import Delivery
from django_cluster.core.codec import Codec
from tests.fuzz.fetching import Pusher
from tests.fuzz.hostile_values import GOOD, VALUES
from tests.integration.cluster_harness import CODEC, SETTINGS, PolledBroker


class Lending(PolledBroker):
    """Another's adapter, which lends what it finds."""

    deliveries: Sequence[Delivery] = ()

    def lease(self, limit: int, *args: Any, **more: Any) -> Sequence[Delivery]:
        some, self.deliveries = self.deliveries[:limit], self.deliveries[limit:]
        return some


def lending(*payloads: Any) -> Lending:
    broker = Lending(SETTINGS.broker)
    broker.deliveries = [Delivery(str(place), each, 1) for place, each in enumerate(payloads)]
    return broker


class Raising(Codec):
    """As a fault in it would."""

    error: BaseException = ZeroDivisionError("a fault")

    def verify(self, text: str) -> bytes:
        if text == "odd":
            raise self.error
        return super().verify(text)


def test_a_payload_that_is_no_text_is_put_aside_and_the_others_flow(tmp_path: Path) -> None:
    pusher = Pusher(lending(GOOD, *VALUES, GOOD), tmp_path)

    pusher.take_all(len(VALUES) + 2)

    assert pusher.tasks == [CODEC.verify(GOOD)] * 2
    assert len(pusher.reports.outcomes) == len(VALUES)
    assert all(type(each.payload) is str for each in pusher.reports.outcomes)
    pusher.close()


def test_bytes_that_are_a_package_are_one(tmp_path: Path) -> None:
    pusher = Pusher(lending(GOOD.encode()), tmp_path)

    pusher.take_all(1)

    assert pusher.tasks == [CODEC.verify(GOOD)]
    pusher.close()


@pytest.mark.parametrize("error", [ZeroDivisionError("a fault"), RecursionError(), OSError(), AssertionError("x")])
def test_whatever_the_codec_raises_is_said_of_that_message_alone(error: Exception, tmp_path: Path) -> None:
    pusher = Pusher(lending("odd", GOOD), tmp_path, Raising(SETTINGS.signing))
    Raising.error = error

    pusher.take_all(2)

    (aside,) = pusher.reports.outcomes
    assert aside.failure is not None
    assert type(error).__name__ in aside.failure[1]
    assert pusher.tasks == [CODEC.verify(GOOD)]
    pusher.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), MemoryError()])
def test_what_is_no_fault_of_the_message_is_not_swallowed(error: BaseException, tmp_path: Path) -> None:
    pusher = Pusher(lending("odd"), tmp_path, Raising(SETTINGS.signing))
    Raising.error = error

    with pytest.raises(type(error)):
        pusher.fetcher.fetch(10)

    assert not pusher.reports.outcomes
    pusher.close()
