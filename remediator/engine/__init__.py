"""The pipeline: what happens to an incident from its alert to its end."""
