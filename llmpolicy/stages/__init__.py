"""What a run is made of, a file a kind: sft, reward_model, grpo, reinforce, environment. Each has
`check`, which refuses what it can before a model loads; what it returns is carried out.
"""
