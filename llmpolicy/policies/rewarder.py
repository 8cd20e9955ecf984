"""A trained reward model: a sequence classifier with one label, with its own tokenizer and chat
template.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from llmpolicy.messages import plain
from llmpolicy.policies.causal_lm.forward import right_pad
from llmpolicy.policies.causal_lm.frequencies import reads_whole, switches
from llmpolicy.policies.causal_lm.load import FAILURES
from llmpolicy.policies.causal_lm.template import Template
from llmpolicy.rewards import RewardError, Score
from llmpolicy.run import broken

Messages = Sequence[Mapping[str, Any]]

TOKENS_AT_ONCE = 32_768
"""Most tokens, padding included, in one forward pass."""


@dataclass(frozen=True)
class RewardModel:
    """A reward model in eval mode with its own tokenizer; ``context`` is the most tokens it
    reads.
    """

    name: str
    model: Any
    tokenizer: Any
    context: int

    @cached_property
    def template(self) -> Any:
        """The tokenizer's chat template, which is tried out once to see what kinds of content it
        shows.
        """
        return Template(self.tokenizer, {})


def score_texts(
    rewarder: RewardModel, ids: Sequence[list[int]], max_length: int | None = None
) -> list[Score]:
    """The scores of token ids, in their order; texts of like length go through the model
    together.
    """
    limit = min(max_length or rewarder.context, rewarder.context)
    kept = [row[-limit:] for row in ids]
    values = torch.zeros(len(ids))
    with torch.inference_mode():
        for batch in _batches([*map(len, kept)], switches(rewarder.model)):
            values[batch] = _forward(rewarder, [kept[row] for row in batch])
    scores = []
    for value, row in zip(values.tolist(), ids, strict=True):
        why = ""
        if len(row) > limit:
            why = f"the first {len(row) - limit} of {len(row)} tokens were cut"
        scores.append(Score(value, why=why))
    return scores


def written(model: str) -> int:
    """When the weights in a folder were written, so that a model that is trained anew is loaded
    anew.
    """
    files = Path(model).expanduser().glob("*.safetensors")
    return max((path.stat().st_mtime_ns for path in files), default=0)


@lru_cache(maxsize=2)
def load(
    model: str, written: int = 0, revision: str | None = None, trust_remote_code: bool = False
) -> RewardModel:
    """Load a reward model once, as it was sealed: on the accelerator as it was saved, on a CPU in
    float32.
    """
    where, dtype = torch.device("cpu"), "float32"
    if torch.accelerator.is_available():
        where, dtype = torch.accelerator.current_accelerator() or where, "auto"
    path = str(Path(model).expanduser())
    if not Path(path).is_dir():
        path = model
    if clause := broken(Path(path)):
        raise RewardError(
            f"reward_model:score: {path} is damaged ({clause}); bring back what was written, or"
            " make it anew"
        )
    options: dict[str, Any] = {"revision": revision, "trust_remote_code": trust_remote_code}
    try:
        with _generator_untouched():
            classifier, report = AutoModelForSequenceClassification.from_pretrained(
                path, dtype=dtype, output_loading_info=True, **options
            )
        tokenizer = AutoTokenizer.from_pretrained(path, **options)
    except FAILURES as error:
        reason = " ".join(str(error).split())[:200]
        raise RewardError(
            f"reward_model:score cannot load the reward model {model!r}: {reason}"
        ) from error
    _check(model, classifier, report["missing_keys"])
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    pad = tokenizer.pad_token_id
    text_config = classifier.config.get_text_config()
    text_config.pad_token_id = classifier.config.pad_token_id = pad
    context = getattr(text_config, "max_position_embeddings", None) or tokenizer.model_max_length
    context = min(context, reads_whole(classifier) or context)
    classifier = classifier.eval().requires_grad_(False).to(where)
    return RewardModel(model, classifier, tokenizer, int(context))


def _generator_untouched() -> Any:
    """Loading may draw random numbers for a head; training must go on with its own."""
    return torch.random.fork_rng() if torch.cuda.device_count() <= 1 else nullcontext()


def _check(name: str, model: Any, missing: Sequence[str]) -> None:
    if model.config.num_labels != 1:
        raise RewardError(
            f"reward_model:score: {name!r} has {model.config.num_labels} labels; expected a reward"
            " model with one"
        )
    if missing:
        raise RewardError(
            f"reward_model:score: {name!r} has no weights for {', '.join(sorted(missing)[:3])};"
            " expected a trained reward model, not a language model (scripts/train_reward_model.py"
            " makes one)"
        )


def token_ids(rewarder: RewardModel, prompt: str | Messages, completion: str) -> list[int]:
    """Token ids of a prompt with its completion, as TRL's RewardTrainer puts a pair together."""
    tokenizer = rewarder.tokenizer
    if isinstance(prompt, str):
        end = tokenizer.eos_token or ""
        return list(tokenizer((prompt + completion).removesuffix(end) + end)["input_ids"])
    if not tokenizer.chat_template:
        raise RewardError(
            f"reward_model:score: the tokenizer of {rewarder.name!r} has no chat template, and the"
            " task's prompts are messages; write `chat: false` under task, or name a reward model"
            " with a template"
        )
    messages = plain(prompt)
    if messages and messages[-1]["role"] == "assistant":
        completion = messages.pop()["content"] + completion  # it goes on with a prefill
    messages.append({"role": "assistant", "content": completion})
    try:
        fitted = rewarder.template.fitted(messages)
        return list(tokenizer.apply_chat_template(fitted, return_dict=False))
    except Exception as error:  # a template is a program of somebody else's and may raise anything
        raise RewardError(
            f"reward_model:score: the chat template of {rewarder.name!r} refuses these messages "
            f"({' '.join(str(error).split())[:120] or type(error).__name__})"
        ) from error


def _batches(lengths: Sequence[int], limits: Sequence[int] = ()) -> Iterator[list[int]]:
    """Rows that are read together, the longest first: none beside one beyond a limit, above which a
    model turns all otherwise.
    """
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        longest = lengths[next(iter(batch), row)]
        apart = any(lengths[row] <= limit < longest for limit in limits)
        if apart or (batch and (len(batch) + 1) * longest > TOKENS_AT_ONCE):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _forward(rewarder: RewardModel, ids: Sequence[list[int]]) -> Tensor:
    """The logit of each row; padding is on the right, so that every token keeps its position."""
    fill = rewarder.tokenizer.pad_token_id
    input_ids, mask = right_pad(ids, fill, rewarder.model.device)  # (B, T)
    if not mask.numel():  # nothing was written at all
        input_ids, mask = pad(input_ids, (0, 1), value=fill), pad(mask, (0, 1))
    logits = rewarder.model(input_ids=input_ids, attention_mask=mask).logits  # (B, 1)
    return logits[:, 0].float().cpu()
