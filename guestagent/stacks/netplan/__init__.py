"""The stack netplan: render its files, and have a running guest take them over."""
