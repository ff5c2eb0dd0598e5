"""Migrations of the app ``django_q``, under the names of Django-Q's own.

Migrations of a project depend on Django-Q's by name, and have foreign keys to its tables. So the history stays as it
is: in a database of Django-Q all names are applied already, and nothing is done again; in a new one they make the same
two tables (in fewer steps), for the migrations of the project that need them. ``0020_django_cluster`` then moves what
is in them: it copies schedules, and the results to which foreign keys point, to the tables of ``django_cluster`` with
their ids, lets the foreign keys point there, and replaces the models by proxies.

Whether a table is Django-Q's own, and so is kept, shows the table of its queue, which is never made here.
"""
