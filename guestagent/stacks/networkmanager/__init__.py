"""The stack NetworkManager, with connection profiles as nm-settings-keyfile(5) describes them."""
