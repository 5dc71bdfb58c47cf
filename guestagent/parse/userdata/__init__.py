"""User data and vendor data: from bytes to checked cloud-config and scripts."""
