"""guestagentd: listens while the system runs, decides, and starts units that do the work."""
