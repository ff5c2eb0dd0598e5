"""The rule for servers that a machine does not have."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers import require


@pytest.fixture
def no_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nothing is installed."""
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("no_programs")
def test_a_test_is_skipped_where_its_server_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUIRE_SERVERS", raising=False)

    with pytest.raises(pytest.skip.Exception, match="the program redis-server"):
        require("redis")


@pytest.mark.usefixtures("no_programs")
def test_a_test_fails_where_its_missing_server_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUIRE_SERVERS", "postgres, redis")

    with pytest.raises(pytest.fail.Exception, match="REQUIRE_SERVERS names it"):
        require("redis")
