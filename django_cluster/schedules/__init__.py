"""Schedules: what is due is claimed, sent and advanced; declarations in code and the rows they keep."""
