"""``import django_q`` finds django_cluster, for the time of a test."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from django_cluster.django_q import install_django_q
from django_cluster.django_q.shim.finder import ROOT


@pytest.fixture(autouse=True)
def _shim() -> Iterator[None]:
    """Whatever another test has imported under this name comes back afterwards."""
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == ROOT}
    finders = list(sys.meta_path)
    install_django_q()
    yield
    sys.meta_path[:] = finders
    for name in [name for name in sys.modules if name.partition(".")[0] == ROOT]:
        del sys.modules[name]
    sys.modules.update(before)
