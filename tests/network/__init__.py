"""What network_data.json asks for, against what the real network stacks read in our files."""
