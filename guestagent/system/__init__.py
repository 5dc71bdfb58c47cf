"""Access to this machine and to trees, and stand-ins for costly modules of the library."""
