"""Where a policy acts: classic control, and prompts whose completions are scored."""
