"""Doors to this machine, and stand-ins for costly modules of the standard library."""
