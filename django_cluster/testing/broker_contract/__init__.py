"""The parts of ``BrokerContract``, one idea each; pytest shows the values of an assertion that fails in them."""

from __future__ import annotations

import pytest

PARTS = ("away", "crowds", "endings", "keeping", "leases", "looking", "steps", "waiting")

pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in PARTS))
