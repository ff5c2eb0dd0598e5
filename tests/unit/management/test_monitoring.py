"""What the commands that look at clusters share."""

from __future__ import annotations

import io
import logging

import pytest

from django_cluster.management.monitoring import no_records_on_terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "seen"), [(Terminal(), "before\nafter\n"), (io.StringIO(), "before\nduring\nafter\n")]
)
def test_while_a_screen_is_drawn_no_record_is_written_on_the_terminal(stream: io.StringIO, seen: str) -> None:
    logger = logging.getLogger("tests.screen")
    logger.propagate = False
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    try:
        logger.warning("before")
        with no_records_on_terminal():
            logger.warning("during")
        logger.warning("after")
    finally:
        logger.removeHandler(handler)

    assert stream.getvalue() == seen
