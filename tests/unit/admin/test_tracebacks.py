"""Tracebacks for a page: which frames are folded, and that nothing is lost or made markup."""

from __future__ import annotations

import html
import re

from django_cluster.admin.tracebacks import folded, parts_of

OWN = '  File "/srv/shop/orders/tasks.py", line 41, in charge\n    answer = bank.charge(order)'
LIBRARY = '  File "/venv/lib/python3.12/site-packages/requests/api.py", line 7, in post\n    return <lambda>()\n    ^^^'
STANDARD = '  File "/usr/lib/python3.12/socket.py", line 3, in connect'
HEAD, ERROR = "Traceback (most recent call last):", "shop.errors.NoBank: first line\nand a second one"


def plain(text: str) -> str:
    return html.unescape(re.sub("<[^>]*>", "", re.sub("<summary>.*?</summary>", "\n", folded(text)))).replace("\n", "")


def test_frames_of_libraries_are_folded_and_those_of_the_project_are_not() -> None:
    text = "\n".join([HEAD, OWN, LIBRARY, STANDARD, OWN, ERROR])

    parts = parts_of(text)
    page = folded(text)

    assert [(library, len(frames)) for library, frames in parts] == [(False, 2), (True, 2), (False, 3)]
    assert page.count("<details>") == 1
    assert "2 frames of libraries" in page
    assert page.index("orders/tasks.py") < page.index("<details>") < page.index("requests/api.py")
    assert "return &lt;lambda&gt;()" in page


def test_no_line_is_lost() -> None:
    cause = "\nDuring handling of the above exception, another exception occurred:\n"
    text = "\n".join([HEAD, OWN, LIBRARY, LIBRARY, ERROR, cause, HEAD, LIBRARY, OWN, STANDARD, ERROR])

    assert plain(text) == text.replace("\n", "")


def test_a_single_frame_of_a_library_is_not_worth_a_fold() -> None:
    assert "<details>" not in folded("\n".join([HEAD, OWN, LIBRARY, ERROR]))


def test_where_everything_is_library_code_nothing_is_folded() -> None:
    assert "<details>" not in folded("\n".join([HEAD, LIBRARY, LIBRARY, STANDARD, ERROR]))


def test_what_is_no_traceback_is_shown_as_it_is() -> None:
    assert "no traceback <b>" in html.unescape(folded("no traceback <b>"))
    assert "<b>" not in folded("no traceback <b>")
