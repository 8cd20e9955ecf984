"""A causal language model as a policy: state = the prompt, action = the completion, one decision a
token.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from llmpolicy.episode import Dialogue, Turn
from llmpolicy.errors import PolicyError
from llmpolicy.objectives import k3
from llmpolicy.policies.causal_lm import adapter as adapters
from llmpolicy.policies.causal_lm import load as loading
from llmpolicy.policies.causal_lm.batching import Batching
from llmpolicy.policies.causal_lm.checks import (
    check,
    check_generates,
    keep_weights,
    remove_dropout,
    untouched,
)
from llmpolicy.policies.causal_lm.codec import Codec
from llmpolicy.policies.causal_lm.fast import door
from llmpolicy.policies.causal_lm.fast.memory import remembering
from llmpolicy.policies.causal_lm.folding import folded
from llmpolicy.policies.causal_lm.forward import bare, right_pad, vocabulary
from llmpolicy.policies.causal_lm.frequencies import context_length
from llmpolicy.policies.causal_lm.generate import generate
from llmpolicy.policies.causal_lm.lengths import Lengths
from llmpolicy.policies.causal_lm.opening import open_files, wrapped
from llmpolicy.policies.causal_lm.reference import Reference
from llmpolicy.policies.causal_lm.rehearse import mend_generation, rehearse
from llmpolicy.policies.causal_lm.roundtrip import (
    check_adapter_outline,
    check_folder,
    check_outline,
    check_written,
)
from llmpolicy.policies.causal_lm.score import Scored, last_logits
from llmpolicy.policies.causal_lm.trial import moved
from llmpolicy.types import Action


class CausalLMPolicy:
    """π_θ(token | context) = softmax(logits / temperature), for any decoder-only transformers
    model.

    A prompt is a text, chat messages (the last is continued if it is the assistant's), or token
    ids; an action is a list of token ids, its stop token included. ``lora`` (LoraConfig's
    arguments) trains an adapter, otherwise all weights are trained. The model keeps its dtype and
    device, not its dropout. ``hub_id`` and ``note`` say what the base truly is. Raises PolicyError
    if the model or tokenizer cannot serve as a policy.
    """

    def __init__(
        self,
        model: PreTrainedModel | PeftModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        temperature: float = 1.0,
        stop: Sequence[str | int] = (),
        max_new_tokens: int = 256,
        lora: Mapping[str, Any] | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        hub_id: str | None = None,
        revision: str | None = None,
        note: str | None = None,
    ) -> None:
        if not temperature > 0:
            raise PolicyError(
                f"temperature is {temperature}; expected above 0 (greedy=True takes the likeliest"
                " token)"
            )
        path = bare(model).config.name_or_path or None
        self.name = hub_id or path or type(bare(model)).__name__
        self.temperature, self.max_new_tokens, self.stop = temperature, max_new_tokens, tuple(stop)
        self.hub_id, self.revision, self.note = hub_id, revision, note
        self.saved_dtype: torch.dtype | None = None
        check_generates(model, self.name)
        self.model: Any = wrapped(model, lora, hub_id or path, revision)
        self.tokenizer = tokenizer
        self.codec = Codec(
            tokenizer,
            bare(model).generation_config,
            vocabulary=vocabulary(self.model),
            stop=stop,
            chat_template_kwargs=chat_template_kwargs,
        )
        keep_weights(self.model)
        with moved(self.model) if self.is_adapter else nullcontext():
            expected = untouched(self.model)
            remove_dropout(self.model)
            check(self.model, self.name, expected)
        self.lengths = Lengths(self)
        self.reference = Reference(
            self, fresh=lora is not None and adapters.starts_as_base(self.model)
        )
        with moved(self.model) if self.is_adapter else nullcontext():
            # tried out now, a step away from its start, before anything is wrapped around it
            door.scoring(self.model)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        hub_id: str | None = None,
        revision: str | None = None,
        note: str | None = None,
        adapter: str | Path | None = None,
        lora: Mapping[str, Any] | None = None,
        quantize: str | None = None,
        dtype: str | torch.dtype | None = None,
        device: str | torch.device | None = None,
        trust_remote_code: bool = False,
        **settings: Any,
    ) -> Self:
        """Load a model (or, if ``path`` is an adapter, its base and it) from a folder or the Hub.

        ``adapter`` continues from that folder, ``lora`` begins a new one. ``dtype`` defaults to
        float32, which full training needs, and under an adapter on a GPU to what was saved.
        ``device`` None leaves the model on the CPU, for a trainer to place. Raises PolicyError if
        anything is missing, unreadable, or does not fit.
        """
        opened = open_files(
            path, hub_id, revision, adapter, lora, quantize, dtype, device, trust_remote_code
        )
        names: dict[str, Any] = {"hub_id": hub_id, "revision": opened.revision, "note": note}
        policy = cls(opened.model, opened.tokenizer, lora=lora, **names, **settings)
        policy.saved_dtype = opened.saved_dtype
        return policy

    # what it is

    @property
    def is_adapter(self) -> bool:
        """Whether an adapter is trained, on top of a frozen base."""
        return isinstance(self.model, PeftModel)

    @property
    def trainable(self) -> str:
        """``adapter`` or ``full``."""
        return "adapter" if self.is_adapter else "full"

    @property
    def stop_ids(self) -> list[int]:
        """The tokens that end a completion: the tokenizer's end, the model's, and those asked
        for.
        """
        return self.codec.stop_ids

    @property
    def pad_id(self) -> int:
        """The token that fills short rows; it may equal a stop id, as masks never come from it."""
        return self.codec.pad_id

    @property
    def context(self) -> int | None:
        """How many tokens prompt and completion may have together, None if the model does not
        say.
        """
        return context_length(self.model)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def to(self, device: str | torch.device) -> Self:
        """Move the model."""
        self.model.to(device)
        return self

    def parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that an optimiser may change: the adapter's, or all."""
        return (parameter for parameter in self.model.parameters() if parameter.requires_grad)

    def encode(self, prompts: Sequence[Any]) -> list[list[int]]:
        """Token ids of each prompt, with exactly the special tokens it should have."""
        return self.codec.encode(prompts)

    def decode(self, token_ids: Sequence[int], after: Sequence[int] = ()) -> str:
        """The text of a completion as a person reads it; ``after`` the token ids of its prompt."""
        return self.codec.decode(token_ids, after)

    def quote(self, prompt: Any) -> str:
        """The text of a prompt (as `encode` takes it) without the special tokens around it."""
        return self.codec.quote(self.encode([prompt])[0])

    # π

    def distribution(self, states: Sequence[Any]) -> torch.distributions.Categorical:
        """The distribution of the next token after each prompt, over all V tokens."""
        prompt_ids = self.encode(states)
        self.lengths.check([len(ids) for ids in prompt_ids])
        input_ids, mask = right_pad(prompt_ids, self.pad_id, self.device)  # (B, P)
        logits = last_logits(self.model, input_ids, mask.sum(1))  # (B, V)
        return torch.distributions.Categorical(
            logits=logits.float() / self.temperature, validate_args=False
        )

    def act(
        self,
        prompts: Sequence[Any],
        *,
        greedy: bool = False,
        generator: torch.Generator | None = None,
        max_new_tokens: int | None = None,
        batch_size: int | None = None,
    ) -> Action:
        """Complete each prompt; ``value`` is a list of token ids a row, log_prob and mask (B, T),
        terminated (B,).
        """
        turns = self.complete(
            prompts,
            greedy=greedy,
            generator=generator,
            max_new_tokens=max_new_tokens,
            batch_size=batch_size,
        )
        value = [turn.action for turn in turns]
        _, mask = right_pad(value, self.pad_id, self.device)  # (B, T)
        log_prob = torch.zeros(mask.shape, device=self.device)  # (B, T)
        for row, turn in enumerate(turns):
            log_prob[row, : len(turn.action)] = torch.tensor(turn.log_probs, device=self.device)
        terminated = torch.tensor([turn.terminated for turn in turns], device=self.device)
        return Action(value, log_prob, mask.bool(), terminated, turns)

    def complete(
        self,
        prompts: Sequence[Any],
        *,
        greedy: bool = False,
        generator: torch.Generator | None = None,
        max_new_tokens: int | Sequence[int] | None = None,
        batch_size: int | None = None,
    ) -> list[Turn]:
        """Complete each prompt: a turn of its token ids and text, of so many tokens at most, or so
        many of each; a dialogue says how many itself.
        """
        prompt_ids = self.encode(prompts)
        most = self._most(prompts) if max_new_tokens is None else max_new_tokens
        limits = [most] * len(prompt_ids) if isinstance(most, int) else list(most)
        self.lengths.check([*map(len, prompt_ids)], limits)
        size = batch_size or max(len(prompt_ids), 1)
        turns: list[Turn] = []
        for start in range(0, max(len(prompt_ids), 1), size):
            turns += generate(
                self.model,
                prompt_ids[start : start + size],
                max_new_tokens=most if isinstance(most, int) else limits[start : start + size],
                temperature=self.temperature,
                stop_ids=self.stop_ids,
                pad_id=self.pad_id,
                greedy=greedy,
                generator=generator,
            )
        return list(map(self.codec.legible, turns, prompts))

    def _most(self, states: Sequence[Any]) -> int | list[int]:
        """The most tokens of a completion, or of each turn of these dialogues."""
        most = [state.most for state in states if isinstance(state, Dialogue)]
        return most if len(most) == len(states) > 0 else self.max_new_tokens

    def remembering(self) -> AbstractContextManager[Any]:
        """While it lasts, what was read and written is kept, so that a turn of a dialogue reads
        what is new alone; weights must not change meanwhile.
        """
        return remembering(self.model)

    def log_prob(
        self, prompts: Sequence[Any], actions: Sequence[Any], *, batch_size: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """The log-probability of every token of given completions and its mask, both (B, T);
        differentiable.
        """
        scored, mask = self.score(prompts, actions, batch_size=batch_size)
        return scored.log_prob, mask

    def entropy(
        self, prompts: Sequence[Any], actions: Sequence[Any], *, batch_size: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """The entropy in nats of the distribution that each token was chosen from, and the mask;
        both (B, T).
        """
        scored, mask = self.score(prompts, actions, batch_size=batch_size, entropy=True)
        assert scored.entropy is not None
        return scored.entropy, mask

    def kl(
        self, prompts: Sequence[Any], actions: Sequence[Any], *, batch_size: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """An estimate of KL(π ‖ reference) at every token (k3, in nats) and the mask, both (B, T);
        differentiable.
        """
        log_prob, mask = self.log_prob(prompts, actions, batch_size=batch_size)
        reference, _ = self.reference.log_prob(prompts, actions, batch_size=batch_size)
        return k3(log_prob, reference), mask  # where masked, both are 0 and so is their k3

    def score(
        self,
        prompts: Sequence[Any],
        actions: Sequence[Any],
        *,
        batch_size: int | None = None,
        entropy: bool = False,
        model: nn.Module | None = None,
        padded: bool | None = None,
    ) -> tuple[Scored, Tensor]:
        """Score given completions (with another ``model`` if given); figures are 0 where the mask,
        (B, T), is.

        Rows are ``padded`` where a gradient is asked for, or else packed by groups, in bounded
        memory, if the model can be.
        """
        padded = torch.is_grad_enabled() if padded is None else padded
        prompt_ids = self.encode(prompts)
        action_ids = [torch.as_tensor(row, dtype=torch.long).tolist() for row in actions]
        if len(prompt_ids) != len(action_ids):
            raise PolicyError(
                f"{len(prompt_ids)} prompts and {len(action_ids)} actions; expected one action a"
                " prompt"
            )
        self.lengths.check([len(p) + len(a) for p, a in zip(prompt_ids, action_ids, strict=True)])
        batch = Batching(
            model or self.model, self.pad_id, self.temperature, self.device, entropy, padded
        )
        return batch.score(prompt_ids, action_ids, batch_size or max(len(prompt_ids), 1))

    # the adapter's life

    def freeze_reference(self) -> Reference:
        """Keep the policy as it is at the start; full weights are copied now, so call it before the
        first update.
        """
        return self.reference.freeze()

    def adapter_off(self) -> AbstractContextManager[None]:
        """While it lasts the policy is its base, so that one loaded model can be measured before
        and after training.
        """
        if not self.is_adapter:
            return nullcontext()
        return adapters.active(self.model, None)

    def save(self, folder: str | Path, *, state_dict: Mapping[str, Tensor] | None = None) -> None:
        """Write the adapter or the full weights as safetensors, and the tokenizer; nothing is asked
        of the Hub.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        if self.is_adapter:
            adapters.save_adapter(self.model, target, state_dict)
        else:
            mend_generation(bare(self.model))
            self.model.save_pretrained(str(target), state_dict=state_dict)
        self.tokenizer.save_pretrained(str(target))

    def rehearse(self) -> None:
        """Save once before training, into a folder that goes away; raises PolicyError for what
        could not be saved then.
        """
        checks = (
            (check_written, check_adapter_outline)
            if self.is_adapter
            else (check_folder, check_outline)
        )
        look, outline = (partial(check, self.model, where=self.name) for check in checks)
        alone = self.is_adapter
        rehearse(
            self.name, self.model, self.tokenizer, self.save, look, outline, trained_only=alone
        )

    def take(self, folder: str | Path) -> None:
        """Go on with the weights that ``save`` wrote; raises PolicyError unless every tensor has
        found its place.
        """
        if self.is_adapter:
            adapters.take(self.model, Path(folder), self.name)
        else:
            loading.take_weights(bare(self.model), Path(folder))

    def merge(self) -> "CausalLMPolicy":
        """A new policy with full weights and the same π, up to the dtype its base was saved in: the
        adapter added to a copy.
        """
        if not self.is_adapter:
            raise PolicyError(
                f"{self.name} has no adapter to merge; its full weights can be saved as they are"
            )
        if getattr(bare(self.model), "is_quantized", False):
            raise PolicyError(
                f"{self.name} was loaded in 4 bit, and merging would round its adapter; "
                "expected it loaded without quantize"
            )
        return CausalLMPolicy(
            loading.cast_weights(folded(self.model), self.saved_dtype),
            self.tokenizer,
            temperature=self.temperature,
            stop=self.stop,
            max_new_tokens=self.max_new_tokens,
            chat_template_kwargs=self.codec.chat_template_kwargs,
            note=self.note,
        )
