"""A run from beginning to end: plan, load, train, evaluate, keep the record."""

import copy
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmpolicy import consent
from llmpolicy.errors import RecipeError, RunError, nearest
from llmpolicy.plan import (
    Plan,
    build_policy,
    completion_length,
    fit,
    loaded_adapter,
    loaded_weights,
    plan_recipe,
    policy_at,
    require_sandbox,
    reward_facts,
    reward_lines,
    task_facts,
    template_arguments,
)
from llmpolicy.recipe import (
    Play,
    Recipe,
    check_packages,
    from_here,
    load_recipe,
    make_recipe,
    stages_of,
)
from llmpolicy.rewards.printed import printed
from llmpolicy.run import Run, mend, new_run_path, written_whole
from llmpolicy.run.paths import base_facts
from llmpolicy.sandbox import unsafe
from llmpolicy.session.curve import close_curve
from llmpolicy.session.evaluate import evaluate_policy
from llmpolicy.stages.folders import after_stages, staged, train_stages
from llmpolicy.stages.going_on import check_going_on, note_going_on, reached
from llmpolicy.stages.grpo import check_grpo_block, train_grpo
from llmpolicy.stages.process import (
    DRY_RUN,
    Say,
    by_itself,
    drawn,
    failing,
    is_main,
    launcher,
    placed,
    silent,
    target,
    use_threads,
    world_size,
)
from llmpolicy.stages.reinforce import check_reinforce, train_environment, train_reinforce
from llmpolicy.stages.sources import (
    Files,
    files_of_stages,
    refuse_changes,
    refuse_damaged_arguments,
    refuse_other_base,
    source_facts,
    stage_files,
    unknown_lines,
)
from llmpolicy.tasks.arrow import dataset_rows, is_dataset
from llmpolicy.tasks.spec import SOURCES, TaskSpec
from llmpolicy.terminal import quiet, tell

if TYPE_CHECKING:
    from llmpolicy.policies.causal_lm import CausalLMPolicy


def train(
    recipe: str | Path | Mapping[str, Any] | None = None,
    *,
    model: Any = None,
    task: Any = None,
    rewards: Any = None,
    out: str | Path | None = None,
    resume: bool = False,
    accept_changes: bool = False,
    unsafe_local_exec: bool = False,
    yes: bool = False,
    say: Say = tell,
    **blocks: Any,
) -> Run:
    """Train from a recipe, from its blocks given as arguments, or from a recipe with some blocks
    changed; return the run.

    ``model`` is a path, a Hub id, ``bundled``, a mapping or a CausalLMPolicy; ``task`` a mapping, a
    list of rows, a dataset or a table of pandas, polars or pyarrow; ``rewards`` functions or
    references; further blocks (``grpo``, ``evaluate``, ``seed`` ...) as in a recipe.
    ``unsafe_local_exec`` lets code rewards run the model's code without a sandbox;
    ``accept_changes`` goes on with files that changed since the run began; ``yes`` runs the code of
    somebody else's run (`llmpolicy.consent`). Raises LLMPolicyError in one sentence for what cannot
    be run.
    """
    from llmpolicy.policies.causal_lm import CausalLMPolicy

    unsafe.allow(unsafe_local_exec)
    _mend(out, resume, say)
    if recipe is not None and not isinstance(recipe, (str, Path, Mapping)):
        raise RecipeError(
            f"the recipe is {recipe!r:.60}, a {type(recipe).__name__}; expected a file, a name or a"
            " mapping"
        )
    base = load_recipe(recipe) if isinstance(recipe, (str, Path)) else None
    if base is not None:
        _agree(base, yes=yes, say=say)
    policy = model if isinstance(model, CausalLMPolicy) else None
    given = {
        "model": {"path": policy.name} if policy else model,
        "task": _task(task),
        "rewards": rewards,
    }
    changes = {**{key: value for key, value in given.items() if value is not None}, **blocks}
    if base is not None and not changes:
        return _train(
            base,
            Path(out) if out else None,
            resume=resume,
            accept=accept_changes,
            dry_run=False,
            say=say,
        )
    changes = {key: from_here(value, [key]) for key, value in changes.items()}
    data = _changed(base.model_dump() if base else dict(recipe or {}), changes)  # type: ignore[arg-type]
    if policy:
        data |= {
            key: {"temperature": policy.temperature, **data[key]}
            for key in ("grpo", "reinforce")
            if key in data
        }
    made = make_recipe(data, base_dir=base.base_dir if base else Path.cwd())
    if made.grpo is None and made.reinforce is None:
        raise RecipeError(
            "train ends in grpo or reinforce; llmpolicy.session.train_stages carries out sft or"
            " reward_model"
        )
    if policy and template_arguments(made) not in ({}, policy.codec.chat_template_kwargs):
        raise RecipeError(
            "the task has other chat_template_kwargs than the policy; give them to CausalLMPolicy"
            " alone"
        )
    where = Path(out) if out else None
    consent.note(made)
    return _train(
        made, where, resume=resume, accept=accept_changes, dry_run=False, say=say, given=policy
    )


def _changed(data: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's data with some blocks changed: of a block of settings only the keys that are
    given.
    """
    both = {
        key
        for key in changes
        if isinstance(data.get(key), Mapping) and isinstance(changes[key], Mapping)
    }
    return {
        **data,
        **changes,
        **{key: {**data[key], **changes[key]} for key in both - {"model", "task"}},
    }


def _task(task: Any) -> Any:
    """A list of rows, rather than of task blocks, or a dataset or a table becomes one block that
    holds them.
    """
    if is_dataset(task):
        return {"rows": dataset_rows(task)}
    if isinstance(task, (list, tuple)):
        rows = all(isinstance(row, Mapping) and _is_row(row) for row in task)
        return {"rows": [dict(row) for row in task]} if rows else list(task)
    if task is not None and not isinstance(task, (Mapping, TaskSpec)):
        raise RecipeError(
            f"task is {task!r:.60}, a {type(task).__name__}; expected a list of rows, a Dataset, a"
            " DataFrame, or a mapping such as {'file': 'rows.jsonl'} or {'generator':"
            " function}"
        )
    return task


def _is_row(row: Mapping[str, Any]) -> bool:
    """Whether a mapping is a row: without a source, or with a column that no key of a task block is
    meant by.
    """
    others = [str(key) for key in row if key not in TaskSpec.model_fields]
    return not set(SOURCES) & set(row) or any(
        "did you mean" not in nearest(key, TaskSpec.model_fields) for key in others
    )


def train_recipe(
    name: str,
    overrides: Sequence[str],
    *,
    out: Path | None = None,
    resume: bool = False,
    accept_changes: bool = False,
    dry_run: bool = False,
    unsafe_local_exec: bool = False,
    until: str | None = None,
    made_by: str | None = None,
    yes: bool = False,
    say: Say = tell,
) -> Run:
    """Train a recipe file (or bundled recipe) with ``key=value`` overrides; see `train`.

    ``until`` names the last stage to carry out, ``made_by`` what began the run, for its manifest.
    """
    unsafe.allow(unsafe_local_exec)
    _mend(out, resume and not dry_run, say)
    recipe = load_recipe(name, overrides)
    _agree(recipe, yes=yes, say=say)
    how: dict[str, Any] = {
        "resume": resume,
        "accept": accept_changes,
        "dry_run": dry_run,
        "until": until,
    }
    return _train(recipe, out, **how, made_by=made_by, say=say)


def _agree(recipe: Recipe, *, yes: bool, say: Say) -> None:
    """Say what of a recipe's code runs for the first time; what a run has kept is asked for, as it
    may be somebody else's.
    """
    if recipe.run is not None:
        consent.need(f"training {recipe.run}", recipe.model_dump(), recipe.base_dir, yes=yes)
    for code in consent.note(recipe):
        say(f"note: {code.key} runs {code.says}, for the first time")


def _mend(out: str | Path | None, resume: bool, say: Say) -> None:
    """Put a run that goes on in order, before anything of it is read, its recipe included."""
    if resume and out is not None and is_main():
        mend(Path(out), say)


@by_itself()
def _train(
    recipe: Recipe,
    out: Path | None,
    *,
    resume: bool,
    accept: bool,
    dry_run: bool,
    say: Say,
    given: "CausalLMPolicy | None" = None,
    until: str | None = None,
    made_by: str | None = None,
) -> Run:
    last = stages_of(recipe)[-1]
    if isinstance(last, Play):
        return train_environment(recipe, last, out, resume=resume, dry_run=dry_run, say=say)
    if resume and out is None:
        raise RunError("--resume needs --out DIR, the run to go on with")
    if out is None and world_size() > 1:
        raise RunError(
            "more than one process trains: name the run's directory with --out DIR, the same"
            " for all"
        )
    check_packages(recipe)
    say = say if is_main() else silent
    how: dict[str, Any] = {
        "resume": resume,
        "accept": accept,
        "dry_run": dry_run,
        "say": say,
        "given": given,
        "made_by": made_by,
    }
    if until is None and recipe.sft is None and recipe.reward_model is None:
        return _train_policy(_checked(recipe.within(out), given), out, **how)
    out = out or new_run_path(recipe.name)
    recipe = recipe.within(out)
    made = None
    if (
        recipe.grpo is not None
    ):  # what the recipe alone can be refused for is refused before a stage trains
        made = _checked(after_stages(recipe, out, dry_run=True), given)
        if until is None:
            require_sandbox(made)
    with staged(out, resume=resume, dry_run=dry_run):
        rest = train_stages(recipe, out, until=until, resume=resume, dry_run=dry_run, say=say)
        if rest is None or made is None:
            raise SystemExit(0)
        return _train_policy(replace(made, recipe=rest), out, **how, stages=stage_files(recipe))


def _checked(recipe: Recipe, given: "CausalLMPolicy | None") -> Plan:
    """The plan of a recipe without its stages, with all that can be checked before anything is
    loaded.
    """
    from llmpolicy.policies.causal_lm.adapter import lora_config

    made = plan_recipe(recipe, processes=world_size(), target=target(), in_memory=given is not None)
    if recipe.reinforce is not None:
        check_reinforce(recipe, len(made.train_rows))
    else:
        check_grpo_block(recipe)
    if recipe.model is not None and recipe.model.lora is not None:
        lora_config(recipe.model.lora)
    return made


def _train_policy(
    made: Plan,
    out: Path | None,
    *,
    resume: bool,
    accept: bool,
    dry_run: bool,
    say: Say,
    given: "CausalLMPolicy | None",
    made_by: str | None,
    stages: Files | None = None,
) -> Run:
    """Say what comes after the stages, compare it with a run that goes on, and carry it out."""
    recipe = made.recipe
    code_runs_in = require_sandbox(made)
    if code_runs_in == "unsafe":
        say(unsafe.WARNING)
    for line in reward_lines(made):
        say(line)
    refuse_damaged_arguments(recipe, besides=out if dry_run else None)
    if recipe.model is not None and recipe.model.adapter is not None and given is None:
        refuse_other_base(Path(loaded_adapter(recipe) or ""), loaded_weights(recipe))
    sources = (
        source_facts(made, weights=given is None) if is_main() and (resume or not dry_run) else {}
    )
    if sources:
        sources["files"] += (
            files_of_stages(Run.open(out)) if resume and out and stages is None else stages or []
        )
    sources |= {"made_by": made_by} if made_by else {}
    for line in unknown_lines(sources.get("files", [])):
        say(line)
    if resume and out is not None and is_main():
        going_on: dict[str, Any] = {"accept": accept, "weights": given is None, "say": say}
        sources["accepted_changes"] = _check_going_on(Run.open(out), recipe, sources, **going_on)
    if dry_run:
        if made.explanation is not None:
            say(str(made.explanation))
        say(DRY_RUN)
        raise SystemExit(0)
    return _carry_out(
        made, out, resume=resume, say=say, given=given, code_runs_in=code_runs_in, sources=sources
    )


def _carry_out(
    made: Plan,
    out: Path | None,
    *,
    resume: bool,
    say: Say,
    given: "CausalLMPolicy | None",
    code_runs_in: str | None,
    sources: Mapping[str, Any],
) -> Run:
    """Load, train, save and evaluate what was planned."""
    quiet()
    recipe = made.recipe
    random.seed(recipe.seed)
    start = (
        copy.deepcopy(given) if given and given.trainable == "full" and recipe.evaluate else None
    )
    policy = given or _first_policy(recipe, out if resume else None)
    policy.max_new_tokens = completion_length(recipe)
    use_threads(policy)
    made = fit(made, policy, processes=world_size(), target=target())
    weights = loaded_weights(recipe) if given is None else None
    if is_main():
        policy.rehearse()
    facts = {
        "weights": recipe.portable(weights, named=True),
        **reward_facts(made),
        "tasks": task_facts(recipe),
        **sources,
    }
    run = open_run(recipe, out, facts, resume=resume) if is_main() else None

    def begin() -> None:
        if run is not None:
            note_going_on(run, recipe, facts, say)

    with failing(run), printed.kept_in((run.path if run else out or Path()) / "rewards.log", say):
        if run is not None and code_runs_in is not None:
            run.update_manifest(code_runs_in=code_runs_in)
        if recipe.grpo is not None:
            stopped, written, step = train_grpo(
                made, policy, run, out, begin, resume=resume, say=say
            )
        else:
            stopped, written = (
                train_reinforce(made, policy, made.train_rows, run, begin, resume=resume, say=say),
                False,
            )
            step = reached(run) if run is not None else 0
        if run is None:
            raise SystemExit(
                0
            )  # anything else would make the launcher end the process that still evaluates
        if written:
            policy = placed(policy_at(run.policy_dir, recipe))
        else:
            with written_whole(run.policy_dir, step=step, run=run.id) as folder:
                policy.save(folder)
        return close_run(made, policy, run, stopped, say, start, step=step)


def _first_policy(recipe: Recipe, resumed: Path | None) -> "CausalLMPolicy":
    """The policy of the recipe; the readable loop goes on from the one in its checkpoint, TRL's
    trainer loads that itself.
    """
    if (
        resumed
        and recipe.reinforce is not None
        and (checkpoints := Run.open(resumed).checkpoints())
    ):
        return policy_at(checkpoints[-1], recipe)
    return build_policy(recipe)


def _check_going_on(
    run: Run, recipe: Recipe, sources: Mapping[str, Any], *, accept: bool, weights: bool, say: Say
) -> list[dict[str, Any]]:
    """Refuse what cannot go on, before a model loads; all changes that were accepted, now and
    earlier.
    """
    check_going_on(run, recipe)
    changed = refuse_changes(run, sources, accept=accept, say=say, weights=weights)
    earlier: list[dict[str, Any]] = run.manifest.get("accepted_changes") or []
    return [*earlier, {"at_step": reached(run), "changed": changed}] if changed else earlier


def open_run(recipe: Recipe, out: Path | None, facts: Mapping[str, Any], *, resume: bool) -> Run:
    """Create the run's directory with ``facts`` in its manifest, or claim an existing one to go on
    with.
    """
    if resume:
        assert out is not None
        return Run.resume(out)
    out = out or new_run_path(recipe.name)
    own: dict[str, Any] = {
        "recipe_hash": recipe.hash(),
        "seed": recipe.seed,
        **base_facts(recipe.base_dir, out),
    }
    own |= {"world_size": world_size(), "launcher": launcher()}
    return Run.create(out, recipe.resolved(), **own, **facts)


def close_run(
    made: Plan,
    policy: "CausalLMPolicy",
    run: Run,
    stopped: str | None,
    say: Say,
    start: "CausalLMPolicy | None" = None,
    *,
    step: int,
) -> Run:
    """Evaluate the saved policy beside the one it started from, draw the plot and say where
    everything lies.
    """
    from llmpolicy.report.plot import plot_run

    if made.correct is not None and made.recipe.evaluate is not None:
        run.write_evaluation(
            evaluate_policy(made, policy, start=start.to(policy.device) if start else None, say=say)
        )
        if made.recipe.evaluate.curve and run.best_dir.is_dir():
            close_curve(made, policy, run, start, say)
    run.finish("stopped" if stopped else "finished", steps=step, reason=stopped)
    drawn("plot", lambda: plot_run(run), say)
    say(f"run:  {run.path}")
    return run
