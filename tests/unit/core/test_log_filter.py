"""A log record of ours is one line, and shows no credential."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from django_cluster.core.log_filter import install_filter

FORGED = "x\n12:00:00 [1] INFO forged\r\x1b[2J\u202e\0"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a project's own handler writes of our loggers."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger = logging.getLogger("django_cluster")
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


@pytest.mark.parametrize("name", ["django_cluster", "django_cluster.tasks"])
def test_a_record_is_one_line_whatever_it_speaks_of(written: io.StringIO, name: str) -> None:
    logging.getLogger(name).error("Task %s [%r] failed %d times in %.1f s: %s", FORGED, FORGED, 3, 1.5, OSError(FORGED))
    logging.getLogger(name).error("Task %(name)s failed.", {"name": FORGED})
    logging.getLogger(name).error(f"Task {FORGED} failed.")

    lines = written.getvalue().splitlines()
    assert len(lines) == 3
    assert all(line.isprintable() for line in lines)
    assert "x\\n12:00:00" in lines[0]
    assert "failed 3 times in 1.5 s" in lines[0]


def test_a_record_shows_no_credential(written: io.StringIO) -> None:
    logging.getLogger("django_cluster").error("%s", ConnectionError("redis://:hush@h refused, password='hush'"))

    assert "hush" not in written.getvalue()
    assert "redis://:********@h refused" in written.getvalue()


def test_a_record_of_a_very_long_text_says_how_long_it_was(written: io.StringIO) -> None:
    logging.getLogger("django_cluster").error("%s", "x" * 10_000)

    assert len(written.getvalue()) < 3000
    assert "(10000 characters)" in written.getvalue()


def test_a_traceback_has_no_line_that_a_message_has_made(written: io.StringIO) -> None:
    def fail() -> None:
        try:
            raise KeyError(FORGED)
        except KeyError as error:
            error.add_note(FORGED)
            raise ExceptionGroup("several", [ValueError(FORGED), OSError("password=hush")]) from error

    try:
        fail()
    except ExceptionGroup:
        logging.getLogger("django_cluster").exception("A hook failed.")

    text = written.getvalue()
    assert "Traceback (most recent call last)" in text
    assert "raise KeyError(FORGED)" in text
    assert not [line for line in text.split("\n") if line.startswith("12:00:00")]
    assert "hush" not in text
    assert "\x1b" not in text


def test_an_argument_that_cannot_be_shown_breaks_nothing(written: io.StringIO) -> None:
    class Unfriendly:
        def __str__(self) -> str:
            raise RuntimeError

    logging.getLogger("django_cluster").error("It is %s.", Unfriendly())

    assert written.getvalue() == "ERROR It is <Unfriendly that cannot be shown>.\n"


def test_the_filter_is_added_once() -> None:
    before = list(logging.getLogger("django_cluster").filters)

    install_filter()

    assert logging.getLogger("django_cluster").filters == before
    assert len(before) == 1
