"""A reward model from preference pairs, by TRL's RewardTrainer, measured on pairs held out."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

from llmpolicy.errors import PolicyError, one_line
from llmpolicy.evaluation.calibration import Measured, measured, table
from llmpolicy.messages import Reply, content_text, thought
from llmpolicy.plan import model_path, refuse_damage
from llmpolicy.policies.rewarder import RewardModel, load, score_texts, token_ids, written
from llmpolicy.recipe import PreferenceModel, WarmStart
from llmpolicy.run import written_whole
from llmpolicy.run.files import Record
from llmpolicy.run.place import REPORTS
from llmpolicy.run.sealed import Facts
from llmpolicy.signals import is_main
from llmpolicy.stages.folders import StageFolder
from llmpolicy.stages.process import target, use_threads
from llmpolicy.stages.request import Request
from llmpolicy.stages.rest import has_stage
from llmpolicy.stages.trainers import drop_printers, lengths, stage_config, write_report
from llmpolicy.tasks import Pair, Pairs

logger = logging.getLogger("llmpolicy")

PairIds = tuple[Pair, list[int], list[int]]
"""A pair with the ids of what was chosen and of what was rejected."""


@dataclass(frozen=True)
class PreferenceStage:
    """A reward model that can be trained: its pairs, and those of held-out prompts."""

    block: PreferenceModel
    request: Request
    folder: StageFolder
    args: Any

    def lines(self) -> Iterator[str]:
        """How many pairs there are."""
        pairs = self.request.plan.pairs
        yield (
            f"reward_model: {len(pairs.train)} pairs, {len(pairs.held_out)} of held-out prompts"
            " kept apart"
        )

    def carry_out(self) -> None:
        """Train a new head on the recipe's model, or on its warm start, and write it, unless it
        lies there made from the same.
        """
        from llmpolicy.report.plot import plot_reward_model

        say, path = self.request.say, self.folder.path
        if not self.folder.begins(self.lines(), say):
            return
        model, tokenizer = self._begin()
        use_threads(model)
        facts = {"made_from": self.folder.made_from}
        pairs, lora = self.request.plan.pairs, self.block.model.lora
        report = train_reward_model(model, tokenizer, pairs, self.args, path, facts, lora=lora)
        say(table(report))
        if is_main() and report["held_out"]:
            say(f"plot: {plot_reward_model(report, path / 'calibration.png')}")

    def _begin(self) -> tuple[Any, Any]:
        """The model that gets a head, as a warm start left it where there is one, and its
        tokenizer.
        """
        recipe, block = self.request.recipe, self.block.model
        base, revision = model_path(block, recipe.base_dir), block.revision
        if has_stage(recipe, WarmStart):
            base, revision = str((self.request.out / REPORTS["sft"]).parent), None
        refuse_damage(base)
        options = {"dtype": block.dtype, "trust_remote_code": block.trust_remote_code}
        return begin(base, seed=recipe.seed, revision=revision, **options)


def check(block: PreferenceModel, request: Request) -> PreferenceStage:
    """The reward model of a recipe, its pairs read and TRL's options checked."""
    return PreferenceStage(
        block, request, StageFolder.of(block.name, request), foresee(block, request)
    )


def foresee(block: PreferenceModel, request: Request) -> Any:
    """TRL's options of a reward model, checked; its pairs may be there when its time comes."""
    folder = (request.out / REPORTS["reward_model"]).parent
    how: Record = {"folder": folder, "seed": request.recipe.seed, "target": target()}
    return stage_config(block.name, block.settings, **how)


def train_reward_model(
    model: Any,
    tokenizer: Any,
    pairs: Pairs,
    args: Any,
    folder: Path,
    facts: Facts,
    *,
    lora: Facts | None = None,
) -> Record:
    """Train what `begin` gave, write it as a normal model (an adapter is merged), and measure what
    was written.

    Returns the report that is written beside the model.
    """
    from trl import RewardTrainer

    from llmpolicy.policies.causal_lm.folding import folded
    from llmpolicy.policies.causal_lm.frequencies import check_rows
    from llmpolicy.policies.causal_lm.trained import check_trained
    from llmpolicy.policies.causal_lm.trial import first_line

    name = str(model.config.name_or_path)
    config = None if lora is None else _lora(lora, model)
    rows, pairs = _rows(pairs, model, tokenizer, args.max_length)
    try:
        trainer = RewardTrainer(
            model, args, train_dataset=rows, processing_class=tokenizer, peft_config=config
        )
    except ValueError as error:  # target_modules that the model has none of
        raise PolicyError(
            f"reward_model: TRL cannot begin with {name} ({first_line(error)})"
        ) from error
    drop_printers(trainer)
    check_trained(trainer.accelerator.unwrap_model(trainer.model), name, args)
    if trainer.is_world_process_zero():
        _rehearse(name, trainer.model, tokenizer)
    check_rows(model, lengths(trainer.train_dataset, "chosen_ids", "rejected_ids"), "reward_model")
    loss = trainer.train().training_loss
    report: Record = {"schema": 1, **facts, "dropped": pairs.dropped}
    report |= {"train": {"n": len(pairs.train), "loss": loss}, "held_out": None}
    if trainer.is_world_process_zero():
        trained: Any = trainer.accelerator.unwrap_model(trainer.model)
        with written_whole(folder) as staged:
            (folded(trained) if lora else trained).save_pretrained(str(staged))
            tokenizer.save_pretrained(str(staged))
            if pairs.held_out:
                report["held_out"] = asdict(measure(staged, pairs.held_out))
            write_report(staged / REPORTS["reward_model"].name, report)
    trainer.accelerator.wait_for_everyone()
    return report


def begin(base: str, *, seed: int, **options: Any) -> tuple[Any, Any]:
    """A language model with a new head of one label, drawn from the seed, and its tokenizer.

    ``options`` are dtype, revision and trust_remote_code. Raises PolicyError for what cannot be
    loaded.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer, set_seed
    from trl.trainer.reward_trainer import suppress_seqcls_warning

    from llmpolicy.policies.causal_lm.load import FAILURES, check_placed

    set_seed(seed)  # the head is drawn at random
    shared = {key: options[key] for key in ("revision", "trust_remote_code") if options.get(key)}
    try:
        with suppress_seqcls_warning():
            loaded: Any = AutoModelForSequenceClassification.from_pretrained(
                base,
                num_labels=1,
                dtype=options.get("dtype") or "float32",
                output_loading_info=True,
                **shared,
            )
        model, report = loaded
        check_placed(base, model, report, new=("score.",), apart=("lm_head.",))
        return model, AutoTokenizer.from_pretrained(base, **shared)
    except FAILURES as error:
        raise PolicyError(
            f"no reward model can begin from {base!r}: {one_line(error)[:200]}"
        ) from error


def _lora(lora: Facts, model: Any) -> Any:
    """The adapter's configuration, with the head among the weights that are trained."""
    from llmpolicy.policies.causal_lm.adapter import lora_config
    from llmpolicy.policies.causal_lm.targets import endings, read_past, watched

    config = lora_config(lora)
    with watched(model) as strange:
        _scores(model)
    if config.target_modules == "all-linear" and config.exclude_modules is None:
        config.exclude_modules = endings(read_past(model) | strange) or None
    config.task_type = "SEQ_CLS"
    config.modules_to_save = sorted({*(config.modules_to_save or ()), "score"})
    return config


def _rehearse(name: str, model: Any, tokenizer: Any) -> None:
    """Write the model as it will be written at the end, and load it; PolicyError if it cannot be,
    or scores otherwise.
    """
    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification

    from llmpolicy.policies.causal_lm.folding import folded
    from llmpolicy.policies.causal_lm.forward import is_there
    from llmpolicy.policies.causal_lm.load import check_placed
    from llmpolicy.policies.causal_lm.rehearse import rehearse
    from llmpolicy.policies.causal_lm.trial import moved

    if not is_there(model):
        return
    is_adapter = isinstance(model, PeftModel)
    with moved(model) if is_adapter else nullcontext():
        expected, whole = _scores(model), folded(model) if is_adapter else model

    def look(folder: Path) -> None:
        loaded: Any = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=whole.dtype, output_loading_info=True, local_files_only=True
        )
        again, report = loaded
        check_placed(name, again, report)
        _same(name, expected, again.to(whole.device), "loaded from its folder")

    _same(name, expected, whole, "added to its base")
    rehearse(name, whole, tokenizer, whole.save_pretrained, look, trained_only=False)


def _scores(model: Any) -> Any:
    """The scores of a few rows of tokens, (B, 1), in evaluation mode."""
    import torch

    from llmpolicy.policies.causal_lm.forward import vocabulary

    ids = (torch.arange(32, device=model.device) * 7919 % vocabulary(model)).view(4, 8)  # (B, L)
    training = model.training
    with torch.no_grad():
        scores = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    model.train(training)
    return scores.float()


def _same(name: str, expected: Any, model: Any, when: str) -> None:
    """Raise PolicyError if a model's scores differ from those expected by more than rounding."""
    apart = float((expected - _scores(model)).abs().max())
    rounding = 1e-2 if model.dtype.itemsize == 4 else 0.2
    if not apart <= rounding * max(1.0, float(expected.abs().max())):
        raise PolicyError(
            f"{name}: what is trained would score otherwise once it is {when} (by {apart:.2g})"
        )


def as_text(reply: Reply, where: str) -> str:
    """A reply as the text that GRPO will score, thinking in front; PolicyError for tool calls,
    which are no text there.
    """
    if isinstance(reply, str):
        return reply
    if reply.get("tool_calls"):
        raise PolicyError(
            f"{where}: the reply calls tools, and a reward model scores texts; expected it as the"
            " text that a model writes"
        )
    before, content = thought(reply), content_text(reply["content"])
    return f"<think>\n{before.strip()}\n</think>\n\n{content}" if before else content


def _read(pairs: Sequence[Pair], rewarder: Any) -> list[PairIds]:
    """Pairs with their replies as texts, and the ids of both as `reward_model:score` reads them; no
    two equal ones.
    """
    if any(getattr(pair.prompt, "options", {}) for pair in pairs):
        logger.warning(
            "reward_model: a reward reads messages alone, without tools and chat_template_kwargs of"
            " the pairs"
        )
    rows: list[PairIds] = []
    for pair in pairs:
        where = f"reward_model, pair {pair.question!r:.60}"
        better, worse = as_text(pair.chosen, where), as_text(pair.rejected, where)
        chosen = token_ids(rewarder, pair.prompt, better)
        rejected = token_ids(rewarder, pair.prompt, worse)
        if chosen != rejected:
            rows.append((replace(pair, chosen=better, rejected=worse), chosen, rejected))
    return rows


def _rows(pairs: Pairs, model: Any, tokenizer: Any, most: int | None) -> tuple[Any, Pairs]:
    """What TRL trains on, and the pairs that are left: those that read alike to the model are
    dropped and counted.
    """
    from datasets import Dataset

    rewarder = RewardModel(str(model.config.name_or_path), model, tokenizer, 0)
    train, held_out = _read(pairs.train, rewarder), _read(pairs.held_out, rewarder)
    alike = len(pairs.train) + len(pairs.held_out) - len(train) - len(held_out)
    if not train:
        raise PolicyError(
            "reward_model: the chat template makes one text of the two replies of each pair"
        )
    if alike:
        logger.warning(
            "reward_model: %d pairs dropped: the chat template makes one text of their two replies",
            alike,
        )
    short = [row for row in train if most is None or max(map(len, row[1:])) <= most]
    longer = len(train) - len(short)
    if not short:
        raise PolicyError(
            f"reward_model: all {longer} pairs have a reply beyond max_length = {most} tokens;"
            " raise it"
        )
    if longer:
        logger.warning(
            "reward_model: %d of %d pairs dropped: beyond max_length = %d tokens",
            longer,
            len(train),
            most,
        )
    of_pair, dropped = itemgetter(0), pairs.dropped + alike + longer
    left = Pairs(list(map(of_pair, short)), list(map(of_pair, held_out)), dropped)
    ids = [{"chosen_ids": chosen, "rejected_ids": rejected} for _, chosen, rejected in short]
    return Dataset.from_list(ids), left


def measure(folder: Path, pairs: Sequence[Pair]) -> Measured:
    """How the reward model in a folder orders pairs that it was not trained on; it is scored as in
    training by GRPO.
    """
    rewarder = load(str(folder), written(str(folder)))
    chosen, rejected = [], []
    for pair in pairs:
        chosen.append(token_ids(rewarder, pair.prompt, str(pair.chosen)))
        rejected.append(token_ids(rewarder, pair.prompt, str(pair.rejected)))
    values = list(map(float, score_texts(rewarder, chosen + rejected)))
    return measured(values[: len(pairs)], values[len(pairs) :])
