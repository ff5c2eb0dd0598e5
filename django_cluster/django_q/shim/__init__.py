"""The modules of Django-Q's package, each name bound to its counterpart in django_cluster."""
