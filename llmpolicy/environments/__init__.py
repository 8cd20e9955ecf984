"""Where a policy acts: classic control, prompts whose completions are scored, conversations."""

from llmpolicy.environments.conversation import Answer, Done, Reply, ToolCall

__all__ = ["Answer", "Done", "Reply", "ToolCall"]
