"""The modules that the peers' workers load: each makes the tasks known in the way of its system.

All of them set Django up first, because all of them are to serve a Django project.
"""
