"""A causal language model as a policy: the one generator and the one scorer live here."""

from llmpolicy.policies.causal_lm.fast.memory import remembering
from llmpolicy.policies.causal_lm.generate import generate
from llmpolicy.policies.causal_lm.policy import CausalLMPolicy
from llmpolicy.policies.causal_lm.reference import Reference
from llmpolicy.policies.causal_lm.score import Scored, score

__all__ = ["CausalLMPolicy", "Reference", "Scored", "generate", "remembering", "score"]
