"""Run the scripts of user data, each once, whatever interrupts them."""
