"""Django's Tasks framework: its tasks, results and signals, for the backend and for the workers.

``django.tasks`` is imported by the modules of this package, and these are imported only where the framework is used.
"""
