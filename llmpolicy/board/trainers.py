"""The trainers of the shipped rows: each is given a `Task` and trains until it is ended."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmpolicy.board.problems import Problem
from llmpolicy.board.stopwatch import Stopwatch
from llmpolicy.plan import Plan
from llmpolicy.rewards import reward
from llmpolicy.types import Sample


@dataclass(frozen=True)
class Task:
    """What a trainer is given: a problem as a recipe's plan (rows, rewards, arithmetic, seed) with
    the recipe's ``changes`` that lead there, the row's settings, and an empty folder.

    Every trainer of transformers hears the ``stopwatch``; another one has to call it.
    """

    problem: Problem
    plan: Plan
    changes: Sequence[str]
    settings: Mapping[str, Any]
    folder: Path
    stopwatch: Stopwatch

    def policy(self) -> Any:
        """The base as a `CausalLMPolicy`, with the recipe's new adapter if it has one."""
        from llmpolicy.stages.policy import build_policy

        return build_policy(self.plan.recipe)


ENDS_SOON = ("evaluate.every=null", "evaluate.n=8", "evaluate.samples=1", "evaluate.curve=false")
"""Changes of a recipe: what comes after the training is no part of it."""


def recipe(task: Task) -> None:
    """Train as ``llmpolicy train`` does; ``settings: {changes: [KEY=VALUE, ...]}`` change the
    recipe.
    """
    from llmpolicy.session import train_recipe

    changes = [*task.changes, *ENDS_SOON, *task.settings.get("changes", ())]
    train_recipe(task.problem.recipe, changes, out=task.folder / "run", yes=True)


def stock_trl(task: Task) -> None:
    """Train with TRL's own GRPOTrainer, on the recipe's rows, rewards and options; ``settings:
    {grpo: {...}}`` are further options of GRPOConfig.
    """
    from trl import GRPOTrainer

    policy = task.policy()
    trainer = GRPOTrainer(
        model=policy.model,
        reward_funcs=[as_trl(task.plan)],
        args=options(task, **task.settings.get("grpo", {})),
        train_dataset=prompts(task.plan),
        processing_class=policy.tokenizer,
    )
    trainer.train()


def options(task: Task, **changed: Any) -> Any:
    """The GRPOConfig of a problem's recipe, with some options changed."""
    from llmpolicy.grpo.config import grpo_config

    recipe, folder = task.plan.recipe, task.folder / "run"
    settings = {**(recipe.grpo or {}), **changed}
    return grpo_config(settings, output_dir=folder, seed=recipe.seed, reward_weights=[1.0])


def prompts(plan: Plan) -> Any:
    """The training rows of a plan as TRL reads them: a Dataset of prompts, each with its number."""
    from datasets import Dataset

    rows = enumerate(plan.train_rows)
    return Dataset.from_list([{"prompt": row.prompt, "row": index} for index, row in rows])


def as_trl(plan: Plan) -> Callable[..., list[float | None]]:
    """The rewards of a plan as TRL calls a reward of `prompts`: in its process, one number a
    completion.
    """
    plan.rewards.isolate = False

    def paid(
        completions: Sequence[Any], completion_ids: Any, row: Sequence[int], **_: Any
    ) -> list[float | None]:
        samples = []
        for completion, tokens, index in zip(completions, completion_ids, row, strict=True):
            text = completion if isinstance(completion, str) else completion[-1]["content"]
            columns = plan.train_rows[index].columns
            samples.append(Sample(text, columns, completion_ids=tokens))
        return [score.value for score in plan.rewards.score(samples)]

    return paid


def supervised(task: Task) -> None:
    """Train on the right answers of the problem's rows with TRL's SFTTrainer; ``settings: {sft:
    {...}}`` are options of SFTConfig.
    """
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    policy, plan = task.policy(), task.plan
    data = []
    for row in plan.train_rows:
        answer: Any = task.problem.answer.format(**row.columns)
        if not isinstance(row.prompt, str):
            answer = [{"role": "assistant", "content": answer}]
        data.append({"prompt": row.prompt, "completion": answer})
    args = SFTConfig(
        output_dir=str(task.folder / "run"),
        seed=plan.recipe.seed,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        **task.settings.get("sft", {}),
    )
    trainer = SFTTrainer(
        model=policy.model,
        args=args,
        train_dataset=Dataset.from_list(data),
        processing_class=policy.tokenizer,
    )
    trainer.train()


@reward(deterministic=False)
def coin(completion: str) -> float:
    """A reward that says nothing: what is reached with it is not owed to a reward."""
    return float(random.random() < 0.5)
