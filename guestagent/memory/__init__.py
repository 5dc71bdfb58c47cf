"""Remember what was applied, from one run to the next."""
