"""Hostile inputs, run against what they are meant for: brokers, rows, commands, imports, the admin."""
