"""The tests of django_cluster, shelved by what they cost."""
