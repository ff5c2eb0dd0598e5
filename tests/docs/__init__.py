"""The worked examples of the docs, run as tests."""
