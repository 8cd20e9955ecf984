"""What a run is made of, a file a kind: sft, reward_model, grpo, reinforce, environment; each checks its
part of a plan and carries it out.
"""
