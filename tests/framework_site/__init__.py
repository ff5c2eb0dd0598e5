"""A site of published packages that send tasks by Django's Tasks framework, unmodified (``tox -e site``)."""

from __future__ import annotations
