"""A Debian guest under QEMU for the tests: its image, its drives and its controls."""
