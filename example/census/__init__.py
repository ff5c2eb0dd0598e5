"""Counts a folder of Python files, one task for each file."""
