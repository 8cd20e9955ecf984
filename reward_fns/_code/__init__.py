"""Programs that a model wrote and the tests they must pass."""
