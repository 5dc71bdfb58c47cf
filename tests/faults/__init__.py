"""What happens when a run is killed, or when the system fails it: with strace's help."""
