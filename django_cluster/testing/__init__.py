"""Help for those who test code that uses, or extends, django_cluster."""

from __future__ import annotations
