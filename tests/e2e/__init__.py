"""Whole clusters, run as users run them: as processes of their own, on real servers, with violence."""
