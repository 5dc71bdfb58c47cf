"""The stack ifupdown: render its files, and have a running guest take them over."""
