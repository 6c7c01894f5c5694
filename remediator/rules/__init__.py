"""From YAML files to something the engine can ask."""
