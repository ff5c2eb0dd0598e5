"""The names of the signals, and that this is all there is to them."""

from __future__ import annotations

import subprocess
import sys

from django.dispatch import Signal

from django_cluster import signals


def test_these_are_the_signals() -> None:
    names = {name for name, value in vars(signals).items() if isinstance(value, Signal)}

    assert names == {"pre_enqueue", "post_spawn", "pre_execute", "post_execute_in_worker", "post_execute"}


def test_nobody_listens_before_a_project_does() -> None:
    code = (
        "from django_cluster import signals; from django.dispatch import Signal;"
        "assert not [s for s in vars(signals).values() if isinstance(s, Signal) and s.receivers]"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
