"""Tell the running system what a run has changed."""
