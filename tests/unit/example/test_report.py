"""What the reader of a census sees."""

from __future__ import annotations

from example.census.analysis import Findings, Function
from example.census.report import REASONS, Counted, Failed, Reconciliation, render


def counted(path: str, lines: int = 10, longest: Function | None = None, imports: str = "") -> Counted:
    return Counted(path, Findings(lines, 3, 1, longest, frozenset(imports.split())))


def test_totals_are_sums_over_all_files() -> None:
    text = render([counted("a.py", lines=1_000), counted("b.py", lines=234)], [])

    assert "  files          2\n  lines      1,234\n  functions      6\n  classes        2" in text


def test_modules_are_ranked_by_the_files_that_import_them() -> None:
    text = render([counted("a.py", imports="re os"), counted("b.py", imports="os"), counted("c.py", imports="ast")], [])

    assert "  os   2\n  ast  1\n  re   1" in text


def test_functions_are_ranked_by_length_and_named_with_their_file() -> None:
    short, long = Function("short", 2), Function("long", 30)

    text = render([counted("a.py", longest=short), counted("b.py", longest=long), counted("c.py")], [])

    assert "  long in b.py   30\n  short in a.py   2" in text


def test_failures_are_counted_by_kind_and_shown_with_their_reason() -> None:
    failed = [
        Failed("a.py", "SyntaxError", "invalid syntax"),
        Failed("b.py", "SyntaxError", "unknown encoding"),
        Failed("c.py", "TaskTimeout", "too slow"),
    ]

    text = render([], failed)

    assert "  SyntaxError  2\n  TaskTimeout  1" in text
    assert "  b.py: unknown encoding" in text


def test_very_many_failures_are_not_all_listed() -> None:
    failed = [Failed(f"{number}.py", "SyntaxError", "no") for number in range(REASONS + 3)]

    text = render([], failed)

    assert text.count(".py: no") == REASONS
    assert text.endswith("  … and 3 more")


def test_without_failures_nothing_is_said_of_them() -> None:
    text = render([counted("a.py")], [])

    assert "Failed" not in text


def test_a_census_that_adds_up_is_one_equation() -> None:
    reconciliation = Reconciliation(files=1_001, enqueued=1_001, succeeded=1_000, failed=1, unexpected=0)

    assert reconciliation.balanced
    assert str(reconciliation) == "Reconciled: 1,001 enqueued = 1,000 succeeded + 1 failed."


def test_a_census_that_does_not_add_up_says_what_differs() -> None:
    reconciliation = Reconciliation(files=3, enqueued=3, succeeded=1, failed=1, unexpected=1)

    assert not reconciliation.balanced
    assert "1 are missing or unexpected" in str(reconciliation)


def test_a_row_that_replaces_a_lost_one_does_not_add_up() -> None:
    reconciliation = Reconciliation(files=2, enqueued=2, succeeded=2, failed=0, unexpected=2)

    assert not reconciliation.balanced
