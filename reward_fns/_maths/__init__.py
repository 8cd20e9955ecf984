"""Answers as values: numbers, units, algebra, sets; when two are the same."""
