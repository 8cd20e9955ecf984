"""Where a policy acts: classic control, prompts whose completions are scored, conversations."""
