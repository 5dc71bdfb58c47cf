"""The stack systemd-networkd, with systemd.network(5) and systemd.netdev(5) files."""
