"""Where a completion tells its final answer, and whether it asserts it."""
