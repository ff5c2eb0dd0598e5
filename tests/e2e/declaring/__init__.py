"""An app whose tasks declare a schedule, where the environment wants one."""
