"""The network stacks that guestagent can configure, one folder each."""
