"""Why does a task, a queue or a schedule not run? Facts are gathered, and a pure function turns them into reasons.

``inquiry.py`` asks the servers, ``decision.py`` judges, ``qinfo --why`` prints. All moments are Unix times in seconds.
"""
