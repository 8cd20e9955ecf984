"""Whether a reward says what it should: its examples, gold answers, attacks, and failed calls."""
