"""Packages: what to install, and where apt and dnf get it from."""
