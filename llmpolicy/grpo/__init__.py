"""GRPO through TRL: the only room that imports TRL's trainer."""
