"""A small Django app with tasks that succeed, fail and misbehave."""
