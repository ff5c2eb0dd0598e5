"""Published packages, unedited, on this package; in the tox environment "packages"."""
