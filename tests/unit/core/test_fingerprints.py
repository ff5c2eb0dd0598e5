"""Failures of the same kind have the same fingerprint, whatever their messages and line numbers are."""

from __future__ import annotations

import sysconfig

import pytest

from django_cluster.core.fingerprints import fingerprint_of, innermost_frame

LIBRARY = f"{sysconfig.get_path('purelib')}/requests/api.py"
TRACEBACK = """Traceback (most recent call last):
  File "/srv/app/shop/tasks.py", line {line}, in pay
    charge(order)
  File "/srv/app/shop/bank.py", line 9, in charge
    get(url)
  File "{library}", line 5, in get
    raise Timeout
requests.Timeout: {message}
"""


def traceback(line: int = 3, message: str = "x") -> str:
    return TRACEBACK.format(line=line, message=message, library=LIBRARY)


def test_the_innermost_frame_of_the_project_counts() -> None:
    assert innermost_frame(traceback()) == "app/shop/bank.py in charge"


def test_lines_and_messages_do_not_count_but_class_function_and_frame_do() -> None:
    usual = fingerprint_of("Timeout", "shop.tasks.pay", traceback())

    assert fingerprint_of("Timeout", "shop.tasks.pay", traceback(99, "y")) == usual
    others = {
        fingerprint_of("OSError", "shop.tasks.pay", traceback()),
        fingerprint_of("Timeout", "shop.tasks.refund", traceback()),
        fingerprint_of("Timeout", "shop.tasks.pay", traceback().replace("in charge", "in refund")),
    }
    assert len(others | {usual}) == 4
    assert len(usual) == 16


def test_of_a_chain_of_errors_the_last_counts() -> None:
    cause = (
        'Traceback (most recent call last):\n  File "/srv/cause.py", line 1, in cause\nKeyError: 1\n\nThe above:\n\n'
    )

    assert innermost_frame(cause + traceback()) == "app/shop/bank.py in charge"


STACK = """Current thread 0x1 (most recent call first):
  File "/a/b/c/deep.py", line 2 in deep
  File "/a/t.py", line 1 in t
"""


@pytest.mark.parametrize(
    ("stack", "frame"),
    [
        (STACK, "b/c/deep.py in deep"),
        ("", ""),
        (f'Traceback (most recent call last):\n  File "{LIBRARY}", line 5, in get\nKeyError\n', ""),
    ],
)
def test_stacks_of_killed_processes_and_texts_without_frames(stack: str, frame: str) -> None:
    assert innermost_frame(stack) == frame
