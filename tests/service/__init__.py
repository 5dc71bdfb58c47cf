"""Tests of the metadata client against a real server in network namespaces."""
