"""Pre-train the language model that is bundled with llmpolicy: about half a minute on one CPU core.

It learns from right answers only, to a few hundred of the questions of ``recipes/quickstart.yaml``,
and is stopped once it answers a third of the others. Those few hundred are the questions whose hash
is highest, the recipe's held-out ones those whose hash is lowest, and the ones next to them say
when to stop: it sees no held-out question.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from llmpolicy.bundled import MODEL
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.recipe import load_recipe
from llmpolicy.tasks import Row, load_tasks
from llmpolicy.tasks.split import by_question, question_hash, representative

PAD, UNKNOWN, END = "<|pad|>", "<|unknown|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
CHARACTERS = [chr(code) for code in range(32, 127)] + ["\n"]
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>'"
    " }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
LEARNED = 300
CHECKED = 1_000
ENOUGH = 0.33
BATCH, LEARNING_RATE, WARMUP, LIMIT, EVERY = 128, 2e-3, 50, 2_000, 10


@dataclass(frozen=True)
class Split:
    """What is learned from, what says when to stop (one row a question), and what stays unseen."""

    learned: list[Row]
    checked: list[Row]
    held_out: list[Row]


def split() -> Split:
    """The rows of the quickstart recipe, divided by the hash of their question."""
    recipe = load_recipe("quickstart")
    assert recipe.evaluate is not None
    tasks = load_tasks(recipe.task, recipe.base_dir, seed=recipe.seed, held_out=recipe.evaluate.n)
    groups = by_question(tasks.train)
    ranked = [groups[question] for question in sorted(groups, key=question_hash)]
    learned = list(chain.from_iterable(ranked[-LEARNED:]))
    return Split(learned, list(map(representative, ranked[:CHECKED])), tasks.held_out)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token a character (printable ASCII), special tokens for padding and turns, and a chat
    template.
    """
    words = [PAD, UNKNOWN, END, *ROLES, *CHARACTERS]
    numbers = dict(zip(words, range(len(words)), strict=True))
    core = Tokenizer(models.WordLevel(numbers, unk_token=UNKNOWN))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    core.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        additional_special_tokens=list(ROLES),
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def build_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama of 0.35 million parameters with random weights."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=256,
        max_position_embeddings=512,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        dtype="float32",
    )
    model = LlamaForCausalLM(config)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model.eval()


def encode(policy: CausalLMPolicy, rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    """Prompts with their right answers as token ids, and as labels, in which only the answers
    count; both (N, T).
    """
    prompts = policy.encode([row.prompt for row in rows])
    answers = policy.encode([row.columns["answer"] + END for row in rows])
    ids, labels = [], []
    for prompt, answer in zip(prompts, answers, strict=True):
        ids.append(torch.tensor(prompt + answer))
        labels.append(torch.tensor([-100] * len(prompt) + answer))
    return (
        pad_sequence(ids, batch_first=True),
        pad_sequence(labels, batch_first=True, padding_value=-100),
    )


def pretrain(seed: int = 0) -> CausalLMPolicy:
    """Learn the answers of a few questions until enough of the others are right, and return the
    policy.
    """
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    policy = CausalLMPolicy(build_model(tokenizer), tokenizer, max_new_tokens=5)
    data = split()
    ids, labels = encode(policy, data.learned)  # (N, T)
    optimizer = torch.optim.AdamW(policy.model.parameters(), betas=(0.9, 0.99), weight_decay=0.1)
    for step in range(1, LIMIT + 1):
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(1.0, step / WARMUP)
        learn(policy, optimizer, ids, labels)
        if step % EVERY == 0 and (right := measure(policy, data.checked).right) >= ENOUGH:
            print(f"stopped after {step} steps: {right:.3f} of the checked questions are right")
            return policy
    raise SystemExit(f"not enough right answers after {LIMIT} steps")


def learn(
    policy: CausalLMPolicy, optimizer: torch.optim.Optimizer, ids: Tensor, labels: Tensor
) -> None:
    """One step of supervised training, on a batch that is drawn from all rows."""
    chosen = torch.randint(len(ids), (BATCH,))  # (B,)
    policy.model(ids[chosen], labels=labels[chosen]).loss.backward()
    torch.nn.utils.clip_grad_norm_(policy.model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


@dataclass(frozen=True)
class Measure:
    """Shares of greedy answers: exactly right, and well formed (a number, then the end of the
    turn).
    """

    right: float
    well_formed: float


def measure(policy: CausalLMPolicy, rows: Sequence[Row]) -> Measure:
    """Ask a policy for greedy answers to rows."""
    answers = policy.complete([row.prompt for row in rows], greedy=True)
    right = formed = 0
    for answer, row in zip(answers, rows, strict=True):
        if answer.terminated:
            right += answer.text == row.columns["answer"]
            formed += re.fullmatch("[0-9]+", answer.text) is not None
    return Measure(right / len(rows), formed / len(rows))


def main() -> None:
    """Pre-train, say how good the model is on the held-out questions, and save it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=MODEL)
    arguments = parser.parse_args()
    policy = pretrain(arguments.seed)
    share = measure(policy, split().held_out)
    print(f"held out: {share.right:.3f} right, {share.well_formed:.3f} well formed")
    policy.save(arguments.out)


if __name__ == "__main__":
    main()
