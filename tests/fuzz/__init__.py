"""Mutants of the samples, through every reader and planner, and what must never come of one."""
