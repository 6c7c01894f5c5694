"""Stand-ins for what the daemon talks to, true to the wire."""
