"""Descriptions of the network: OpenStack's network_data.json, and interfaces(5) text."""
