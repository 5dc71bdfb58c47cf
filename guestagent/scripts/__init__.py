"""Run the scripts of user data, each once, also when the system stops meanwhile."""
