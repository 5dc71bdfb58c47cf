"""From the model to resources: one module for each thing that is set, all of them pure."""
