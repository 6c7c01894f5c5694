"""The words of the field as frozen data, and the pure functions that decide over them. No I/O here."""
