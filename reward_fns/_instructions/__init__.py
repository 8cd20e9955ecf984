"""Instructions whose following can be counted."""
