"""The condition on rows finds whatever the filter of the screen would keep."""

from __future__ import annotations

import pytest

from django_cluster.dashboard.row_search import condition
from django_cluster.dashboard.tables import Column, Table, TableRow, matches
from django_cluster.models import Task
from django_cluster.testing.outcomes import make_failure
from tests.integration.admin_client import save

NAMES = ("ax", "bx", "cz", "nme", "[Errno 2]", "qx", "]", "100%", "a_b", "a%b", "x\\y", "o'b", 'q"q', "timeout")
QUERIES = (
    *("[ab]x", "name:[abc]z", "[!q]x", "[]]", "[[]E*", "[Errno", "[", "]", "error:[*", "n*e", "n?e", "?", "*"),
    *("%", "_", "name:a%", "\\", "'", '"', "status:timeo?t", "name:[a-c]*", "*[xz]"),
)


@pytest.mark.django_db
@pytest.mark.parametrize("query", QUERIES)
def test_whatever_the_screen_keeps_is_found(query: str) -> None:
    save(*(make_failure(name=name) for name in NAMES))
    table = Table((Column("Name"),), ())
    kept = {name for name in NAMES if matches(table, TableRow(key=f"task:{name}", cells=(name,)), query)}

    wanted = condition(query)

    assert wanted is not None
    assert kept <= set(Task.objects.filter(wanted).values_list("name", flat=True))
