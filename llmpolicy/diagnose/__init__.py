"""What can be said of a recipe or a run by looking at it. No torch here."""
