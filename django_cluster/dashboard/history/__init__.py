"""Trends and sentences from history: pure functions, drawn by the admin."""
