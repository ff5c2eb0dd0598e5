"""The house stands: the contracts in setup.cfg hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from importlinter import cli

ROOT = Path(__file__).resolve().parents[2]


def test_every_import_points_down(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)

    exit_code = cli.lint_imports(config_filename="setup.cfg", no_cache=True)

    assert exit_code == cli.EXIT_STATUS_SUCCESS, capsys.readouterr().out
