"""From bytes to the typed model: pure functions, no effects, no trust in the input."""
