"""The two sides of the bench's dialogues: stock TRL's own tool loop and llmpolicy's, each on a
model that calls a tool turn after turn because its weights say so.

Embeddings are large beside what layers add to them, and the head's row of a token points where the
token that comes before it is embedded. So both sides sample as they always do, and every turn is a
call of OWN tokens, of which most are drawn from several words.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import trl
from datasets import Dataset
from peft import LoraConfig
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import get_json_schema
from trl import GRPOTrainer

from llmpolicy.environments.dialogue import Limits, Partner
from llmpolicy.environments.players import Players
from llmpolicy.grpo.config import grpo_config
from llmpolicy.grpo.dialogues import Talk
from llmpolicy.grpo.trainer import PolicyTrainer
from llmpolicy.policies.causal_lm import CausalLMPolicy
from llmpolicy.policies.causal_lm.speech import speech_of
from llmpolicy.rewards import Rewards
from llmpolicy.tasks import Row
from scripts import bench_sides
from scripts.bench_sides import LORA, Workload, alive, optimiser_step
from scripts.bench_tool import look, paid

OWN, SAID = 20, 30
"""Tokens of a turn of the model's, and of what is said behind one, marks of turns included."""
CALL = ("<tool_call>", '{"name": "look", "arguments": {"at": "', '"}}', "</tool_call>")
MARKS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
SLOTS, WORDS = 15, 16
"""Words of a call, and how many each is drawn from."""
LAYERS = 8
"""Of the model, so that stock TRL's side takes minutes."""
LARGE, SURE = 10.0, 32.0
"""The size of what a token is embedded as, and by how much the logit of what follows it is more."""


@dataclass(frozen=True)
class Talks(Workload):
    """Prompts x dialogues of so many ``turns`` of the model's."""

    turns: int = 4

    def unique_tokens(self, live: float = 1.0) -> int:
        """Tokens of live groups: prompts once, and all that was written behind them."""
        said = alive(self, live) * self.group * SAID * (self.turns - 1)
        return super().unique_tokens(live) + said


def talks(prompts: int = 8, turns: int = 4) -> Talks:
    """Dialogues of the shape of this file."""
    return Talks(
        prompts,
        PROMPT,
        (OWN * turns,),
        (OWN + SAID) * turns,
        lora=True,
        shared=SHARED,
        turns=turns,
    )


PROMPT, SHARED = 237, 202
"""Tokens of a prompt, and of those with which all begin: the tool, and how to call it."""


def tokenizer() -> PreTrainedTokenizerFast:
    """Words of Qwen's template and of the tool, learnt from them, and the pieces of a call."""
    template = (Path(trl.__file__).parent / "chat_templates" / "qwen2_5.jinja").read_text()
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    learner = trainers.BpeTrainer(
        vocab_size=4000,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = template.replace("\\n", "\n").replace('\\"', '"')
    raw.train_from_iterator([text, str(get_json_schema(look)).replace("'", '"'), look("")], learner)
    raw.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS])
    words = [*CALL, *(word for slot in _slots() for word in slot)]
    raw.add_tokens([AddedToken(word, special=False, normalized=False) for word in words])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token=MARKS[1], pad_token=MARKS[2], chat_template=template
    )


def _slots() -> list[list[str]]:
    """The words that may stand at each place of a call."""
    return [[f" {letter}{slot}" for letter in "abcdefghijklmnop"] for slot in range(SLOTS)]


def _question(number: int) -> str:
    """What is asked in a prompt, of two words of each slot."""
    words = [
        slot[(number + several * place) % WORDS]
        for several in (1, 3)
        for place, slot in enumerate(_slots())
    ]
    return "Look at" + "".join(words)


def caller(words: PreTrainedTokenizerFast, dtype: torch.dtype) -> Any:
    """A model whose every turn is a call: behind each step of it comes one of the next."""
    torch.manual_seed(0)
    shape = {**bench_sides.SHAPE, "tie_word_embeddings": False}
    shape["num_hidden_layers"] = min(LAYERS, shape["num_hidden_layers"])
    ids_of: Any = words.convert_tokens_to_ids  # of one token, or of several
    end, nothing = ids_of([MARKS[1], MARKS[2]])
    config = LlamaConfig(**shape, eos_token_id=end, pad_token_id=nothing, dtype=dtype)
    model: Any = LlamaForCausalLM._from_config(config)
    begin = words("\n")["input_ids"]
    steps = [[CALL[0]], [CALL[1]], *_slots(), [CALL[2]], [CALL[3]], [MARKS[1]]]
    chain = [begin, *map(ids_of, steps)]
    embedded, head = model.get_input_embeddings().weight.data, model.lm_head.weight.data
    for before, after in zip(chain, chain[1:], strict=False):
        direction = torch.randn(embedded.shape[1], dtype=torch.float32).sign()
        embedded[before] = (LARGE * direction).to(dtype)
        head[after] += (SURE / len(direction) * direction).to(dtype)
    return model


class DialogueBench:
    """One workload of dialogues: a trainer of each side, on models and rows that are alike."""

    def __init__(self, work: Talks, dtype: torch.dtype, folder: str) -> None:
        self.work, self.dtype, self.folder = work, dtype, folder
        self.questions = [_question(number) for number in range(work.prompts)]
        self.sides: dict[str, Any] = {"stock": self._stock(), "ours": self._ours()}
        for trainer in self.sides.values():
            trainer.create_optimizer()
            steps = trainer.args.gradient_accumulation_steps
            trainer.current_gradient_accumulation_steps = steps
        self.outputs: dict[str, dict[str, Any]] = {}
        self.scoring: float | None = None
        self.flops, self.head_flops = 0, 0
        for name, parameter in self.sides["ours"].model.named_parameters():
            if "lora" not in name and "embed" not in name and "lm_head" not in name:
                self.flops += 2 * parameter.numel()
            elif "lm_head" in name:
                self.head_flops = 2 * parameter.numel()

    def _settings(self, **more: Any) -> Any:
        work = self.work
        settings = {
            "per_device_train_batch_size": min(work.micro, work.rows),
            "num_generations": work.group,
            "gradient_accumulation_steps": max(1, work.rows // work.micro),
            "max_completion_length": work.limit,
            "learning_rate": 1e-9,
            "beta": 0.04,  # so that a reference is asked
            "save_strategy": "no",
            "bf16": self.dtype == torch.bfloat16,
            **more,
        }
        return grpo_config(settings, output_dir=Path(self.folder), seed=0, reward_weights=[1.0])

    def _stock(self) -> GRPOTrainer:
        words = tokenizer()
        prompts = [[{"role": "user", "content": question}] for question in self.questions]
        return GRPOTrainer(
            model=caller(words, self.dtype),
            reward_funcs=[lambda completions, **_: [paid("")] * len(completions)],
            args=self._settings(max_tool_calling_iterations=self.work.turns - 1),
            train_dataset=Dataset.from_dict({"prompt": prompts}),
            processing_class=words,
            peft_config=LoraConfig(**LORA, task_type="CAUSAL_LM"),
            tools=[look],
        )

    def _ours(self) -> PolicyTrainer:
        work, words = self.work, tokenizer()
        model = caller(words, self.dtype)
        policy = CausalLMPolicy(model, words, max_new_tokens=work.limit, lora=LORA)
        players = Players(None, tools=["scripts.bench_tool:look"], seconds=60.0)
        speech = speech_of(policy.codec, players.offer.tools)
        talk = Talk(Partner(players, speech, Limits(turns=work.turns, tokens=work.limit)))
        rows = []
        for index, question in enumerate(self.questions):
            rows.append(Row([{"role": "user", "content": question}], {}, index, question, "t"))
        rewards = Rewards([paid], isolate=False)
        return PolicyTrainer(policy, rewards, rows, self._settings(), talk=talk)

    def warm_up(self) -> None:
        """A step of the dialogues of one prompt."""
        for side in self.sides:
            self.generate(side, prompts=1)
            self.update(side, 1.0)

    def generate(self, side: str, prompts: int | None = None) -> float:
        """Seconds in which a generation is played and judged, from prompts to advantages; those in
        which the reference is asked are ``scoring``.
        """
        trainer, items = self.sides[side], list[dict[str, Any]]()
        for index, question in enumerate(self.questions[:prompts]):
            prompt = [{"role": "user", "content": question}] if side == "stock" else ""
            items += [{"prompt": prompt, "row": index} for _ in range(self.work.group)]
        trainer.model.train()
        with _timing(trainer) as seconds:
            whole = bench_sides.timed(lambda: self._play(side, items))
        self.scoring = sum(seconds)
        return whole - self.scoring

    def _play(self, side: str, items: list[dict[str, Any]]) -> None:
        self.outputs[side] = self.sides[side]._generate_and_score_completions(items)

    def update(self, side: str, live: float) -> float:
        """Seconds of an optimiser step on what was generated last."""
        inputs = dict(self.outputs[side])
        rows = len(inputs["completion_ids"])
        advantages = torch.tensor([1.0, -1.0]).repeat(rows // 2)
        inputs["advantages"] = advantages.to(inputs["completion_ids"].device)
        return optimiser_step(self.sides[side], inputs)


@contextmanager
def _timing(trainer: Any) -> Iterator[list[float]]:
    """The seconds of each time that log-probabilities are asked for."""
    ask, seconds = trainer._get_per_token_logps_and_entropies, list[float]()

    def timed(*arguments: Any, **named: Any) -> Any:
        answers: list[Any] = []
        work: Callable[[], None] = lambda: answers.append(ask(*arguments, **named))  # noqa: E731
        seconds.append(bench_sides.timed(work))
        return answers[0]

    trainer._get_per_token_logps_and_entropies = timed
    try:
        yield seconds
    finally:
        del trainer._get_per_token_logps_and_entropies
