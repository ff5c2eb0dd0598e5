"""An app that hurts the cluster from within, as a broken project does."""
