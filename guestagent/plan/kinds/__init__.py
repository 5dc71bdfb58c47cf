"""The kinds of things that can be set, one module each: the resource and its change."""
