"""The supervised warm start: TRL's SFTTrainer on demonstrations, written as a normal model."""

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy.errors import PolicyError, RecipeError
from llmpolicy.recipe import Recipe, WarmStart, dialogue_of
from llmpolicy.run import written_whole
from llmpolicy.run.files import Record
from llmpolicy.run.place import REPORTS
from llmpolicy.run.sealed import Facts
from llmpolicy.stages.folders import StageFolder
from llmpolicy.stages.partner import players_of
from llmpolicy.stages.policy import build_policy
from llmpolicy.stages.process import target, use_threads
from llmpolicy.stages.request import Request
from llmpolicy.stages.trainers import drop_printers, lengths, stage_config, write_report
from llmpolicy.tasks import Demonstration

if TYPE_CHECKING:
    from datasets import Dataset

    from llmpolicy.policies.causal_lm import CausalLMPolicy
    from llmpolicy.policies.causal_lm.codec import Codec

logger = logging.getLogger("llmpolicy")


@dataclass(frozen=True)
class SupervisedStage:
    """A warm start that can begin: its demonstrations, and those of held-out questions."""

    request: Request
    folder: StageFolder
    args: Any
    train: Sequence[Demonstration]
    held_out: Sequence[Demonstration]

    def lines(self) -> Iterator[str]:
        """How many demonstrations there are."""
        yield (
            f"sft: {len(self.train)} demonstrations, {len(self.held_out)} of held-out questions"
            " kept apart"
        )

    def carry_out(self) -> None:
        """Train the recipe's model and write it, unless it lies there made from the same."""
        say, path = self.request.say, self.folder.path
        if not self.folder.begins(self.lines(), say):
            return
        policy = build_policy(self.request.recipe)
        use_threads(policy.model)
        facts = {"made_from": self.folder.made_from}
        train, held_out = (
            begun_as_played(rows, self.request.recipe, policy.codec)
            for rows in (self.train, self.held_out)
        )
        report = warm_start(policy, train, held_out, self.args, path, facts)
        held_out = report["held_out"]
        measured = f", held out {held_out['loss']:.3f}" if held_out else ""
        say(f"sft: loss {report['train']['loss']:.3f} nats a token{measured}; {path}")


def check(block: WarmStart, request: Request) -> SupervisedStage:
    """The warm start of a recipe; raises RecipeError where every demonstration is of a held-out
    question.
    """
    recipe, plan = request.recipe, request.plan
    rows, kept_apart = plan.demonstrations, plan.held_out_questions
    folder = StageFolder.of(block.name, request)
    how: dict[str, Any] = {"folder": folder.path, "seed": recipe.seed, "target": target()}
    args = stage_config(block.name, block.settings, **how)
    train: list[Demonstration] = []
    held_out: list[Demonstration] = []
    for row in rows:
        (held_out if row.question in kept_apart else train).append(row)
    if not train:
        raise RecipeError(
            f"recipe {recipe.name!r}: all {len(rows)} demonstrations are of held-out questions"
        )
    return SupervisedStage(request, folder, args, train, held_out)


def begun_as_played(
    rows: Sequence[Demonstration], recipe: Recipe, codec: "Codec"
) -> Sequence[Demonstration]:
    """Demonstrations that are shown the tools as the dialogues of a later stage are."""
    from llmpolicy.policies.causal_lm.speech import ChatSpeech, ToldSpeech

    block = dialogue_of(recipe)
    tools = players_of(recipe).offer.tools if block and block.chat else ()
    if block is None or not tools:
        return rows
    speech = (ToldSpeech if block.tools_in == "prompt" else ChatSpeech)(codec, tools)
    return [
        row if isinstance(row.prompt, str) else replace(row, prompt=speech.asked(row.prompt))
        for row in rows
    ]


def warm_start(
    policy: "CausalLMPolicy",
    train: Sequence[Demonstration],
    held_out: Sequence[Demonstration],
    args: Any,
    folder: Path,
    facts: Facts,
) -> Record:
    """Train a policy on the replies of demonstrations and write it with its report; an adapter is
    merged first.

    The report holds the mean loss of a reply's token, in nats, in training and on the held-out
    demonstrations.
    """
    from accelerate import PartialState
    from trl import SFTTrainer

    from llmpolicy.policies.causal_lm.experts import settle_aux_loss
    from llmpolicy.policies.causal_lm.forward import bare
    from llmpolicy.policies.causal_lm.frequencies import check_rows
    from llmpolicy.policies.causal_lm.trained import check_trained

    if bare(policy.model).base_model is bare(policy.model):
        kind = type(bare(policy.model)).__name__
        raise PolicyError(
            f"sft: TRL finds no layers under the head of {kind}; expected a model that it can"
            " warm-start"
        )
    learned = _dataset(train, policy.codec, args)
    measured_on = _dataset(held_out, policy.codec, args) if held_out else None
    check_trained(policy.model, policy.name, args)
    policy.rehearse()
    if policy.is_adapter and PartialState().is_main_process:
        policy.merge().rehearse()  # what is written at the end
    trainer = SFTTrainer(
        policy.model,
        args,
        train_dataset=learned,
        eval_dataset=measured_on,
        processing_class=policy.tokenizer,
    )
    drop_printers(trainer)
    settle_aux_loss(trainer, policy.model, args.router_aux_loss_coef)
    for rows in filter(None, (trainer.train_dataset, trainer.eval_dataset)):
        check_rows(policy.model, lengths(rows, "input_ids"), "sft")
    loss = trainer.train().training_loss
    measured = trainer.evaluate()["eval_loss"] if held_out else math.nan
    report = {"schema": 1, **facts, "train": {"n": len(train), "loss": loss}}
    report["held_out"] = {"n": len(held_out), "loss": measured} if held_out else None
    if trainer.is_world_process_zero():
        with written_whole(folder) as staged:
            (policy.merge() if policy.is_adapter else policy).save(staged)
            write_report(staged / REPORTS["sft"].name, report)
    trainer.accelerator.wait_for_everyone()
    return report


def _dataset(rows: Sequence[Demonstration], codec: "Codec", args: Any) -> "Dataset":
    """Token ids for TRL, prompts as GRPO generates from them; only the replies are learned, and
    their end.
    """
    from datasets import Dataset

    longest, whole = args.max_length or math.inf, args.completion_only_loss is False
    shortest, longer, lessons = math.inf, 0, []
    for row in rows:
        where = f"sft, demonstration {row.question!r:.60}"
        before, reply = codec.lesson(row.prompt, row.reply, where)
        unlearned = before if whole else [-100] * len(before)
        lessons.append({"input_ids": [*before, *reply], "labels": [*unlearned, *reply]})
        shortest = min(shortest, len(before))
        longer += len(before) + len(reply) > longest
    if args.truncation_mode == "keep_start" and shortest >= longest:
        raise PolicyError(
            f"sft: every prompt fills max_length = {longest} tokens, and no reply is left to learn;"
            " raise it"
        )
    if longer:
        logger.warning(
            "sft: %d of %d demonstrations have more than max_length = %d tokens, and lose what is"
            " beyond",
            longer,
            len(rows),
            longest,
        )
    return Dataset.from_list(lessons)
