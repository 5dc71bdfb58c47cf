"""Tell people and programs what a run would do, and what it did."""
