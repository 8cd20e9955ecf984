"""What a completion says: its text behind the reasoning, its words, patterns."""
