"""From a recipe to its parts: rows, rewards, policy, trainer. All that can be checked is checked
before a model loads.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy import consent
from llmpolicy.errors import PolicyError, RecipeError
from llmpolicy.messages import content_text
from llmpolicy.places import adapter_folder, hub_hint, model_folder
from llmpolicy.plan.explain import (
    Explanation,
    RecipeExplanation,
    explain_grpo,
    written_values,
)
from llmpolicy.recipe import (
    Grpo,
    ModelBlock,
    Recipe,
    Reinforce,
    RewardBlock,
    Stage,
    grpo_defaults,
    load_recipe,
    missing_packages,
    stages_of,
)
from llmpolicy.rewards import Rewards, RewardSpec, describe
from llmpolicy.rewards.compose import NORMALISED, sentences
from llmpolicy.rewards.compose import facts as composition_facts
from llmpolicy.run import broken
from llmpolicy.sandbox.need import require
from llmpolicy.tasks import Row, TaskSpec, load_tasks, within

if TYPE_CHECKING:
    from llmpolicy.policies.causal_lm import CausalLMPolicy

BUNDLED = "bundled"
SCORER = "reward_model:score"


@dataclass(frozen=True)
class Plan:
    """What a recipe comes to before any model is loaded."""

    recipe: Recipe
    train_rows: Sequence[Row]
    held_out: Sequence[Row]
    rewards: Rewards
    correct: Rewards | None
    explanation: Explanation | None

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What is carried out, in order; the one that trains the policy comes last."""
        return stages_of(self.recipe)


def plan_recipe(
    recipe: Recipe, *, processes: int = 1, target: str = "cpu", in_memory: bool = False
) -> Plan:
    """Load the rows and rewards of a recipe and check them against each other and against the batch
    arithmetic.

    With ``in_memory`` the policy is there already, and its model need not lie anywhere.
    """
    if recipe.model is not None and not in_memory:
        model_path(recipe.model, recipe.base_dir)
        loaded_adapter(recipe)
    tasks = load_tasks(
        recipe.task,
        recipe.base_dir,
        seed=recipe.seed,
        held_out=recipe.evaluate.n if recipe.evaluate else 0,
        held_out_task=recipe.evaluate.task if recipe.evaluate else None,
    )
    if recipe.reinforce is not None and recipe.evaluate is not None and recipe.evaluate.every:
        raise RecipeError(
            f"recipe {recipe.name!r}: evaluate.every needs grpo; the loop of reinforce evaluates at"
            " the end"
        )
    rewards = build_rewards(recipe)
    if rewards.components and not any(rewards.composition.weights):
        raise RecipeError(
            f"recipe {recipe.name!r}: every reward has weight 0 (only logged); expected one that"
            " counts"
        )
    for name, columns in tasks.by_task.items():
        rewards.check_columns(columns, name)
    correct = build_correct(recipe)
    if correct is not None:
        correct.check_columns(tasks.columns)
    if recipe.grpo is not None and not in_memory:
        loaded_weights(recipe)
    explanation = _explained(recipe, tasks.train, processes, target)
    return Plan(recipe, tasks.train, tasks.held_out, rewards, correct, explanation)


def _explained(
    recipe: Recipe, rows: Sequence[Row], processes: int, target: str
) -> Explanation | None:
    if recipe.grpo is None:
        return None
    overridden = {
        key.removeprefix("grpo.")
        for key, where in recipe.origin.items()
        if where.startswith("override")
    }
    return explain_grpo(
        recipe.grpo,
        rows=len(rows),
        mean_prompt_tokens=_mean_prompt_tokens(recipe, rows),
        processes=processes,
        target=target,
        overrides=overridden,
        sampling=recipe.sampling,
    )


def _mean_prompt_tokens(recipe: Recipe, rows: Sequence[Row]) -> float | None:
    """The tokens of a prompt on average, of up to 64 rows, without the chat template's own; None
    without a local tokenizer.
    """
    from tokenizers import Tokenizer

    try:
        file = Path(loaded_weights(recipe) or "") / "tokenizer.json"
    except PolicyError:  # the policy was made in memory
        return None
    if not file.is_file() or not rows:
        return None
    texts = [
        (
            row.prompt
            if isinstance(row.prompt, str)
            else "\n".join(content_text(said.get("content")) for said in row.prompt)
        )
        for row in rows[:: max(len(rows) // 64, 1)]
    ]
    return sum(len(one.ids) for one in Tokenizer.from_file(str(file)).encode_batch(texts)) / len(
        texts
    )


def explain_recipe(
    name: str,
    overrides: Sequence[str] = (),
    *,
    target: str = "cpu",
    processes: int = 1,
    yes: bool = False,
) -> RecipeExplanation:
    """The explanation of a recipe file (or bundled recipe), with the rows counted that GRPO trains
    on.

    ``yes`` lets it run rewards and generators that have not run here before; see
    `llmpolicy.consent`.
    """
    recipe = load_recipe(name, overrides)
    consent.need(f"explaining {name}", recipe.model_dump(), recipe.base_dir, yes=yes)
    made = plan_recipe(recipe, processes=processes, target=target) if recipe.rewards else None
    if recipe.reinforce is not None:
        from llmpolicy.stages.reinforce import check_reinforce

        check_reinforce(recipe, len(made.train_rows) if made else None)
    reward = reward_lines(made) if made else []
    explanation = made.explanation if made else None
    return RecipeExplanation(
        tuple(written_values(recipe)), explanation, tuple(reward), tuple(missing_packages(recipe))
    )


def build_rewards(recipe: Recipe) -> Rewards:
    """The rewards of a recipe, found and inspected, and their composition checked."""

    def placed(block: RewardBlock) -> dict[str, Any]:
        return _placed_model(block.fn, block.args, recipe.base_dir)

    return Rewards(
        [block.with_args(placed).mapping() for block in recipe.rewards],
        recipe.base_dir,
        tasks=_labels(recipe),
        allow_inversion=recipe.allow_inversion,
        written_at=recipe.written_at,
    )


def _labels(recipe: Recipe) -> list[str]:
    """The tasks that the reward is for: those of training, and the held-out one where a reward
    names it.
    """
    named = {task for block in recipe.rewards for task in block.tasks or ()}
    held_out = [task.label for task in _tasks(recipe)[len(recipe.task) :] if task.label in named]
    return list(dict.fromkeys([*(task.label for task in recipe.task), *held_out]))


def _tasks(recipe: Recipe) -> list[TaskSpec]:
    return [
        *recipe.task,
        *([recipe.evaluate.task] if recipe.evaluate and recipe.evaluate.task else []),
    ]


def _placed_model(fn: Any, args: Mapping[str, Any], base: Path | None) -> dict[str, Any]:
    """A function's arguments, in which a reward model's folder starts from where every path of a
    recipe does.
    """
    if not isinstance(fn, str) or not fn.endswith(SCORER) or not isinstance(args.get("model"), str):
        return dict(args)
    return {**args, "model": _relative(args["model"], base)}


def build_correct(recipe: Recipe) -> Rewards | None:
    """The one function that says which held-out answers are right, or None without an evaluate
    block.
    """
    if recipe.evaluate is None or recipe.evaluate.correct is None:
        return None
    fn, base = recipe.evaluate.correct, recipe.base_dir
    return Rewards(
        [RewardSpec(fn, 1.0, _placed_model(fn, recipe.evaluate.args, base), "correct")], base
    )


def require_sandbox(made: Plan) -> str | None:
    """Which sandbox the rewards that run code will use, None when none does; SandboxUnavailable
    before a model loads.
    """
    used = [*made.rewards.components, *(made.correct.components if made.correct else [])]
    return require(component.function for component in used)


def reward_lines(made: Plan) -> list[str]:
    """The reward as a formula, what right and wrong answers can get, and what is worth knowing
    about it.
    """
    composition = made.rewards.composition
    lines = sentences(composition, _labels(made.recipe))
    normalised = (made.recipe.grpo or {}).get("multi_objective_aggregation") == "normalize_then_sum"
    if normalised and sum(map(bool, composition.weights)) > 1:
        lines = [*lines, f"note: {NORMALISED}"]
    return [*lines, *(_prefill_line(task) for task in made.recipe.task if task.prefill)]


def _prefill_line(task: TaskSpec) -> str:
    """What a reward reads of an answer that was begun for the model."""
    where = "messages ends with it" if task.chat else "prompt ends with it"
    return (
        f"note: task {task.label}: `completion` is what the model writes after the prefill"
        f" {task.prefill!r:.60}; for a reward {where} (json_answer reads both together)"
    )


def reward_facts(recipe: Recipe) -> dict[str, Any]:
    """For the manifest: each reward's name, weight, role, arguments, file and hash, and what they
    add up to.
    """
    rewards = build_rewards(recipe)
    terms = [rewards.composition.term_of[name] for name in rewards.names]
    found = []
    for block, name, term in zip(recipe.reward_functions, rewards.names, terms, strict=True):
        within = {} if name == term.name else {"within": term.name}
        facts = {"fn": str(block.fn), "weight": term.weight, "role": term.role, **within}
        facts["args"] = recipe.portable(block.args, named=True)
        found.append({**facts, **describe(block.fn, recipe.base_dir)})
    if recipe.evaluate and (fn := recipe.evaluate.correct):
        # No weight: it only judges the evaluation.
        facts = {
            "fn": str(fn),
            "weight": None,
            "args": recipe.portable(recipe.evaluate.args, named=True),
        }
        found.append({**facts, **describe(fn, recipe.base_dir)})
    return {
        "rewards": found,
        "composition": composition_facts(rewards.composition, _labels(recipe)),
    }


def task_facts(recipe: Recipe) -> list[dict[str, Any]]:
    """For the manifest: the file and hash of each function that a task calls."""
    tasks = _tasks(recipe)
    asked = [fn for task in tasks for fn in (task.generator, task.canonical)]
    named = [fn for fn in asked if callable(fn) or (fn and ":" in fn)]
    return [
        {"fn": getattr(fn, "__name__", str(fn)), **describe(fn, recipe.base_dir)} for fn in named
    ]


def build_policy(
    recipe: Recipe, *, adapter: Path | None = None, base_only: bool = False
) -> "CausalLMPolicy":
    """Load the model of a recipe as a policy; ``adapter`` continues from that folder, ``base_only``
    leaves adapters out.

    A new adapter is drawn from the recipe's seed, with which the process goes on.
    """
    from transformers import set_seed

    from llmpolicy.policies.causal_lm import CausalLMPolicy

    if recipe.model is None:
        raise RecipeError(f"recipe {recipe.name!r} has no model")
    block = recipe.model
    continued = str(adapter) if adapter else loaded_adapter(recipe)
    path = model_path(block, recipe.base_dir)
    for folder in (path, None if base_only else continued):
        refuse_damage(folder)
    set_seed(recipe.seed)
    return CausalLMPolicy.load(
        path,
        hub_id=block.hub_id,
        revision=block.revision,
        note=true_note(block, path),
        adapter=None if base_only else continued,
        lora=None if base_only or continued else block.lora,
        quantize=block.quantize,
        dtype=block.dtype,
        trust_remote_code=block.trust_remote_code,
        stop=block.stop,
        temperature=temperature(recipe),
        max_new_tokens=completion_length(recipe),
        chat_template_kwargs=template_arguments(recipe),
    )


def refuse_damage(folder: str | None) -> None:
    """What was sealed is only loaded as it was written; raises PolicyError."""
    if folder and (clause := broken(Path(folder))):
        raise PolicyError(
            f"{folder} is damaged ({clause}); bring back what was written, or make it anew"
        )


def policy_at(folder: Path, recipe: Recipe) -> "CausalLMPolicy":
    """The policy that a folder holds (an adapter on the recipe's base, or whole weights), or that a
    Hub id names.
    """
    if (folder / "adapter_config.json").is_file():
        return build_policy(recipe, adapter=folder.resolve())
    if recipe.model is None:
        raise RecipeError(f"recipe {recipe.name!r} has no model")
    path = str(folder.resolve()) if folder.is_dir() else str(folder)
    # What the recipe says of its own model is not true of another one.
    other = {
        "path": path,
        "hub_id": None,
        "revision": None,
        "note": None,
        "lora": None,
        "adapter": None,
    }
    block = recipe.model.model_copy(update=other)
    return build_policy(recipe.model_copy(update={"model": block}))


def model_path(block: ModelBlock, base_dir: Path | None) -> str:
    """The bundled model, a folder (relative to the recipe or to the current folder), or a Hub
    id.
    """
    if block.path == BUNDLED:
        from llmpolicy.bundled import MODEL

        return str(MODEL)
    local = _relative(block.path, base_dir)
    for folder in (local, block.path):
        if folder and Path(folder).is_dir():
            return model_folder(folder)
    if local and Path(local).is_file():
        raise PolicyError(
            f"model.path {block.path!r} is a file; expected the folder of a model (config.json,"
            " *.safetensors)"
        )
    if block.path.startswith((".", "/", "~")) or block.path.count("/") != 1:
        raise PolicyError(
            f"no model at {block.path!r}: no such folder, and not a Hub id of the form"
            f" USER/NAME{hub_hint(block.path)}"
        )
    # A folder that was not made yet, such as models/NAME, has the form of a Hub id: its true name
    # serves instead.
    return block.hub_id or block.path


def true_note(block: ModelBlock, loaded: str) -> str | None:
    """The recipe's note on its weights, unless the Hub's weights took the place of the folder that
    it speaks of.
    """
    return None if loaded == block.hub_id != block.path else block.note


def loaded_weights(recipe: Recipe) -> str | None:
    """The folder or Hub id that the recipe's base is loaded from, for the manifest."""
    if recipe.model is None:
        return None
    path = model_path(recipe.model, recipe.base_dir)
    return str(Path(path).resolve()) if Path(path).is_dir() else path


def loaded_adapter(recipe: Recipe) -> str | None:
    """The folder or Hub id of the adapter that a recipe goes on with; raises PolicyError for what
    is none.
    """
    return (
        adapter_folder(_relative(recipe.model.adapter, recipe.base_dir)) if recipe.model else None
    )


def completion_length(recipe: Recipe) -> int:
    """The most tokens of a completion, in training, and in evaluation unless that names its own."""
    return int(_of_policy(recipe, "max_completion_length"))


def temperature(recipe: Recipe) -> float:
    """By which the policy divides its logits, in training and in evaluation."""
    return float(_of_policy(recipe, "temperature"))


def _of_policy(recipe: Recipe, key: str) -> Any:
    """A setting that GRPO and the loop have in common, or TRL's default of it."""
    for stage in stages_of(recipe):
        if isinstance(stage, Grpo) and stage.settings.get(key) is not None:
            return stage.settings[key]
        if isinstance(stage, Reinforce) and stage.settings.only((key,)):
            return getattr(stage.settings, key)
    return grpo_defaults()[key]


def evaluated_length(recipe: Recipe) -> int:
    """The most tokens of a completion in evaluation, the same for a policy and its base."""
    return (recipe.evaluate and recipe.evaluate.max_completion_length) or completion_length(recipe)


def _relative(path: str | None, base_dir: Path | None) -> str | None:
    if path is None:
        return None
    joined = (base_dir or Path()) / Path(path).expanduser()
    return str(joined) if joined.exists() else path


def template_arguments(recipe: Recipe) -> dict[str, Any]:
    """The chat template's arguments, which all tasks of one recipe share; raises RecipeError when
    they differ.
    """
    tasks = _tasks(recipe)
    found = [task.chat_template_kwargs or {} for task in tasks]
    if any(arguments != found[0] for arguments in found):
        raise RecipeError(
            f"recipe {recipe.name!r}: its tasks differ in chat_template_kwargs; one policy has one"
            " template"
        )
    return found[0] if found else {}


def fit(made: Plan, policy: "CausalLMPolicy", *, processes: int = 1, target: str = "cpu") -> Plan:
    """The plan with the rows whose prompt and completion fit the context (and
    ``max_prompt_tokens``), the rest counted.

    Raises TaskError or RecipeError when too few are left to train on.
    """
    recipe = made.recipe
    train = _fitting(policy, made.train_rows, recipe, completion_length(recipe), "training")
    explanation = made.explanation
    if len(train) < len(made.train_rows):
        explanation = _explained(recipe, train, processes, target)
    return fit_held_out(replace(made, train_rows=train, explanation=explanation), policy)


def fit_held_out(made: Plan, policy: "CausalLMPolicy") -> Plan:
    """The plan with the held-out rows whose prompt and completion fit, the rest counted."""
    if not made.held_out:
        return made
    length = evaluated_length(made.recipe)
    return replace(made, held_out=_fitting(policy, made.held_out, made.recipe, length, "held-out"))


def _fitting(
    policy: "CausalLMPolicy", rows: Sequence[Row], recipe: Recipe, completion: int, side: str
) -> Sequence[Row]:
    context = policy.context or 10**9
    limit = min(recipe.max_prompt_tokens or context, context - completion)
    if limit < 1:
        raise RecipeError(
            f"max_completion_length={completion} leaves no room for a prompt in the model's context"
            f" of {context} tokens"
        )
    kept = within(
        rows,
        [len(ids) for ids in policy.encode([row.prompt for row in rows])],
        limit,
        recipe.over_long,
    )
    if len(kept) < len(rows):
        logging.getLogger("llmpolicy").warning(
            "%d of %d %s prompts above %d tokens dropped",
            len(rows) - len(kept),
            len(rows),
            side,
            limit,
        )
    return kept
