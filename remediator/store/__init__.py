"""Our own state: PostgreSQL, and the only door to it."""
