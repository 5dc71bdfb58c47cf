"""Read descriptions of a network: OpenStack's JSON and interfaces(5) text."""
