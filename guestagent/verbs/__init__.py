"""What the command line can ask for, one module for each verb."""
