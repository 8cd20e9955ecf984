"""A real policy so small that every completion can be written down: exact J, ∇J, entropy and KL.

The vocabulary has an end token and four letters, a completion at most three tokens, so a prompt has
85 completions. J is the mean over the prompts of the expected reward. Nothing here is sampled.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from llmpolicy.policies.causal_lm import CausalLMPolicy

Floats = NDArray[np.float64]
END, LETTERS, LENGTH = 0, "abcd", 3
PROMPTS = ("a", "b")


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a letter, and an end token, which also pads."""
    vocabulary = {token: index for index, token in enumerate(["<end>", *LETTERS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<end>"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    raw.decoder = decoders.Fuse()
    raw.add_special_tokens([AddedToken("<end>", special=True, normalized=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<end>", pad_token="<end>", unk_token="<end>"
    )


def model(seed: int = 9) -> PreTrainedModel:
    """A Llama of one layer and some hundred parameters, far from uniform."""
    shape = LlamaConfig(
        vocab_size=1 + len(LETTERS), hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=16,
        initializer_range=0.6, bos_token_id=None, eos_token_id=END, pad_token_id=END,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(shape).train()


def policy(seed: int = 9) -> CausalLMPolicy:
    """The model as the toolkit's policy."""
    return CausalLMPolicy(model(seed), tokenizer())


def completions() -> list[tuple[int, ...]]:
    """Every completion: ended by the end token, or cut off at the longest length."""
    letters = range(1, 1 + len(LETTERS))
    ended = [(*body, END) for n in range(LENGTH) for body in itertools.product(letters, repeat=n)]
    return ended + list(itertools.product(letters, repeat=LENGTH))


def right(completion: Sequence[int], prompt: str) -> float:
    """1 for an answer that holds the prompt's letter, and a "d" as well for the harder prompt."""
    wanted = {"a": (1,), "b": (2, 4)}[prompt]
    return float(all(token in completion for token in wanted))


def graded(completion: Sequence[int], prompt: str) -> float:
    """Many values, some below 0: the share of the prompt's letter, less .3 a token."""
    wanted = {"a": 1, "b": 2}[prompt]
    return completion.count(wanted) / len(completion) - 0.3 * len(completion)


@dataclass(frozen=True)
class Prompt:
    """All completions of a prompt: ``log_prob`` (Y, T) a token, ``score`` (Y, T, P) = ∇ log π of
    each token, 0 behind the end; ``mask`` (Y, T), ``reward`` (Y,) and ``probability`` (Y,).
    """

    log_prob: Floats
    score: Floats
    mask: Floats
    reward: Floats

    @property
    def probability(self) -> Floats:
        return np.asarray(np.exp((self.log_prob * self.mask).sum(1)))

    @property
    def value(self) -> float:
        """J of this prompt: Σ_y π(y) r(y)."""
        return float(self.probability @ self.reward)

    @property
    def gradient(self) -> Floats:
        """∇J of this prompt, (P,): Σ_y π(y) r(y) ∇ log π(y)."""
        return np.asarray((self.probability * self.reward) @ self.score.sum(1))

    @property
    def entropy(self) -> float:
        """Of whole completions, in nats."""
        return float(-(self.probability * (self.log_prob * self.mask).sum(1)).sum())

    def kl(self, reference: "Prompt") -> float:
        """KL(π ‖ reference) over whole completions, in nats."""
        ratio = ((self.log_prob - reference.log_prob) * self.mask).sum(1)
        return float(self.probability @ ratio)


def enumerated(
    network: PreTrainedModel, prompt: str, reward: Callable[..., float] = right
) -> Prompt:
    """All of a prompt under a network, in float64 (a Llama's norms compute in 32 bits all the same);
    one backward pass a token and a prefix.
    """
    exact = type(network)(network.config).double()
    exact.load_state_dict(network.state_dict())
    exact.eval()
    weights = [weight for weight in exact.parameters() if weight.requires_grad]
    start = tokenizer()(prompt).input_ids

    @cache
    def step(prefix: tuple[int, ...]) -> tuple[Floats, Floats]:
        logits = exact(torch.tensor([[*start, *prefix]])).logits[0, -1]
        log_prob = logits.log_softmax(0)
        rows = [
            torch.cat([g.flatten() for g in torch.autograd.grad(one, weights, retain_graph=True)])
            for one in log_prob
        ]
        return log_prob.detach().numpy(), torch.stack(rows).numpy()

    every = completions()
    size = sum(weight.numel() for weight in weights)
    log_prob, mask = np.zeros((len(every), LENGTH)), np.zeros((len(every), LENGTH))
    score = np.zeros((len(every), LENGTH, size))
    for y, completion in enumerate(every):
        for t, token in enumerate(completion):
            of_tokens, gradients = step(completion[:t])
            log_prob[y, t], score[y, t], mask[y, t] = of_tokens[token], gradients[token], 1
    return Prompt(log_prob, score, mask, np.array([reward(y, prompt) for y in every]))


def world(network: PreTrainedModel) -> list[Prompt]:
    """Both prompts."""
    return [enumerated(network, prompt) for prompt in PROMPTS]


def moved(network: PreTrainedModel, gradient: Floats, size: float) -> PreTrainedModel:
    """A copy whose weights went ``size`` along the gradient: a later policy than that which
    acted.
    """
    other = type(network)(network.config).train()
    other.load_state_dict(network.state_dict())
    weights = [weight for weight in other.parameters() if weight.requires_grad]
    step = torch.from_numpy(size * gradient / np.linalg.norm(gradient)).float()
    for weight, part in zip(weights, step.split([w.numel() for w in weights]), strict=True):
        weight.data.add_(part.view_as(weight))
    return other
