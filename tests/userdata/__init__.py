"""User data: formats, cloud-config keys, what is made of them."""
