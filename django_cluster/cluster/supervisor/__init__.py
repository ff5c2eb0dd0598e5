"""The sentinel: starts the processes of a cluster, watches and replaces them, and stops the cluster."""
