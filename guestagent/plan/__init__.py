"""Compare what the guest should be with what it is: kinds of things, and their difference."""
