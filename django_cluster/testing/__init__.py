"""Test helpers for projects (``drain``), for brokers and stores (contracts), and ``qchaos``."""

from __future__ import annotations
