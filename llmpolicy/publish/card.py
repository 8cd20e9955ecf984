"""The model card: what was trained, by which rewards, how good it was before and after, and what
nobody checked.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData

from llmpolicy.publish import small
from llmpolicy.publish.shown import curve, escape, framed, samples, usage

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
RELEASES = ("llmpolicy", "torch", "transformers", "trl", "peft", "accelerate")
TASK_SOURCES = ("hub", "reasoning_gym", "file", "generator")
NOT_CHECKED = (
    "any task, language or prompt format other than the held-out prompts above",
    (
        "safety, bias, truthfulness, memorised or private text: training by a reward can change all"
        " of them unseen"
    ),
    "whether the base model had met the held-out questions in its own pre-training",
    "answers that please the reward functions without being right, beyond what the table shows",
)


@dataclass(frozen=True, slots=True)
class CardFacts:
    """All that a card may say.

    ``what`` is published (adapter, merged), ``which`` weights of the run (last, best), ``trained``
    the parameters that moved (adapter, full). ``evaluation`` has the form of evaluation.json and
    was measured on the published weights, unless ``measured_on_last``: then on those of the last
    step, while others are published; its ``examples`` are shown. ``datasets`` are those of the Hub
    with their licences, ``train`` and ``looks`` the metrics of the steps, ``sources`` the Python
    files that are published with the recipe, ``missing`` what else it needs.
    """

    repo: str
    what: str
    which: str
    trained: str
    recipe: Mapping[str, Any]
    manifest: Mapping[str, Any]
    evaluation: Mapping[str, Any] | None
    base: str
    hub_id: str | None
    measured_on_last: bool = False
    license: Mapping[str, str] | None = None
    datasets: Mapping[str, str | None] = field(default_factory=dict)
    train: Sequence[Mapping[str, Any]] = ()
    looks: Sequence[Mapping[str, Any]] = ()
    sources: Sequence[str] = ()
    missing: Sequence[str] = ()


def card(facts: CardFacts) -> str:
    """The text of README.md: the Hub's metadata as YAML, then Markdown in which every name is
    escaped.
    """
    is_small = facts.what == "policy"
    sections = (
        small.head(facts.repo, facts.base, facts.recipe, facts.which) if is_small else _head(facts),
        _results(facts),
        samples(facts.evaluation),
        curve(facts.train, facts.looks, facts.manifest.get("seed", facts.recipe.get("seed", 0))),
        small.usage(facts.repo, facts.recipe) if is_small else _usage(facts),
        _rewards(facts.manifest.get("rewards") or facts.recipe.get("rewards") or ()),
        [] if is_small else _data(facts),
        _again(facts),
        _recipe(facts.recipe),
        [
            "## What it was not checked for",
            "",
            *(f"- {line}" for line in (small.NOT_CHECKED if is_small else NOT_CHECKED)),
        ],
    )
    body = "\n\n".join("\n".join(section) for section in sections if section)
    return f"---\n{metadata(facts).to_yaml()}\n---\n\n{body}\n"


def metadata(facts: CardFacts) -> ModelCardData:
    """What the Hub reads of a card. Nothing is guessed: no license and no base model unless they
    are known.
    """
    if facts.what == "policy":
        return small.metadata(
            facts.repo, facts.recipe, None if facts.measured_on_last else facts.evaluation
        )
    algorithm = "grpo" if facts.recipe.get("grpo") is not None else "reinforce"
    lora = ["lora"] if facts.trained == "adapter" else []
    relation = "adapter" if facts.what == "adapter" else "finetune"
    return ModelCardData(
        library_name="peft" if facts.what == "adapter" else "transformers",
        **(facts.license or {}),  # type: ignore[arg-type]
        pipeline_tag="text-generation",
        tags=["llmpolicy", "reinforcement-learning", algorithm, *lora],
        datasets=list(facts.datasets) or None,
        model_name=facts.repo.rpartition("/")[2],
        eval_results=_model_index(facts),
        base_model=facts.hub_id,
        **({"base_model_relation": relation} if facts.hub_id else {}),  # type: ignore[arg-type]
    )


def _model_index(facts: CardFacts) -> list[EvalResult] | None:
    accuracy = (facts.evaluation or {}).get("accuracy")
    if not accuracy or facts.evaluation is None or facts.measured_on_last:
        return None
    task = (tasks_of(facts.recipe) or [{}])[0]
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=str(
                task["hub"] if task.get("hub") in facts.datasets else "llmpolicy-held-out"
            ),
            dataset_name=f"{task_name(task)} (held out)",
            dataset_config=task.get("config") if isinstance(task.get("config"), str) else None,
            metric_type="accuracy",
            metric_name=f"greedy accuracy on {facts.evaluation.get('n')} held-out prompts",
            metric_value=round(float(accuracy["value"]), 4),
        )
    ]


def _head(facts: CardFacts) -> list[str]:
    weights = "full weights" if facts.trained == "full" else "merged weights"
    form = "a LoRA adapter" if facts.what == "adapter" else weights
    moment = (
        "the step with the best held-out accuracy" if facts.which == "best" else "the last step"
    )
    tasks = (
        ", ".join(escape(task_name(task)) for task in tasks_of(facts.recipe)) or "an unnamed task"
    )
    method = "GRPO" if facts.recipe.get("grpo") is not None else "REINFORCE"
    lines = [
        f"# {escape(facts.repo.rpartition('/')[2])}",
        "",
        (
            f"This is {escape(facts.base)}, fine-tuned by reinforcement learning ({method}) on"
            f" {tasks}: {form} of {moment}, trained and published with llmpolicy."
        ),
    ]
    return lines + [line for note in _notes(facts) for line in ("", note)]


def _notes(facts: CardFacts) -> Iterator[str]:
    """What a reader would take wrongly if it were not said."""
    model = facts.recipe.get("model") or {}
    if model.get("note"):
        yield f"The weights it was trained on: {escape(model['note'])}."
        if facts.hub_id and facts.what == "adapter":
            yield (
                f"On the weights of {escape(facts.hub_id)} itself the adapter's figures may differ"
                " from those below."
            )
    if model.get("quantize"):
        yield f"During training the base was quantised ({escape(model['quantize'])})."
    if facts.which == "best":
        yield (
            "The step was chosen by the same held-out prompts, so its accuracy is somewhat"
            " optimistic."
        )


def _results(facts: CardFacts) -> list[str]:
    lines = ["## Before and after", ""]
    evaluation = facts.evaluation
    if evaluation is None:
        return [*lines, "Not evaluated: the run has no evaluation.json."]
    if facts.measured_on_last:
        best = facts.manifest.get("best") or {}
        lines += [
            f"**Measured on the last step, not on the published weights** ({_best(best)}).",
            "",
        ]
    said = (
        f"; decoding: {escape(_flat(evaluation['decoding']))}" if evaluation.get("decoding") else ""
    )
    asked = (
        "episodes" if facts.what == "policy" else "held-out prompts, none of them seen in training"
    )
    lines += [
        (
            f"{evaluation.get('n')} {asked}{said}. One training run, seed"
            f" {escape(facts.recipe.get('seed', 0))}."
        ),
        "",
    ]
    if facts.what == "merged" and facts.trained == "adapter":
        lines += ["Measured before the adapter was merged.", ""]
    return [*lines, *_table(evaluation), *_verdict(evaluation)]


def _best(best: Mapping[str, Any]) -> str:
    if not best:
        return "these were not evaluated"
    return (
        f"step {best.get('step')}; its accuracy during training was"
        f" {_percent(best.get('accuracy'))}"
    )


def _table(evaluation: Mapping[str, Any]) -> list[str]:
    base = evaluation.get("base") or {}
    rows = [
        (f"{label} accuracy [95 % interval]", _interval(base.get(key)), _interval(evaluation[key]))
        for label, key in (("greedy", "accuracy"), ("sampled", "sampled_accuracy"))
        if evaluation.get(key)
    ]
    rows += [
        (f"{label} return [95 % interval]", _return(base.get(key)), _return(evaluation[key]))
        for label, key in (("greedy", "return"), ("sampled", "sampled_return"))
        if evaluation.get(key)
    ]
    before, after = base.get("pass_at_k") or {}, evaluation.get("pass_at_k") or {}
    rows += [
        (f"pass@{escape(k)}, sampled", _percent(before.get(k)), _percent(after[k])) for k in after
    ]
    for label, key, show in (
        ("cut off by the length limit", "truncated", _percent),
        ("mean length, tokens", "mean_length", _number),
        ("KL to the base, nats a token", "kl_to_base", _number),
    ):
        if evaluation.get(key) is not None:
            rows.append((label, show(base.get(key)), show(evaluation[key])))
    start = "untrained" if evaluation.get("return") else "base"
    return [
        f"| | {start} | trained |",
        "|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


def _verdict(evaluation: Mapping[str, Any]) -> Iterator[str]:
    for label, key in (("greedy", "paired_difference"), ("sampled", "paired_difference_sampled")):
        if evaluation.get(key):
            low, high, value = (
                100 * float(evaluation[key][end]) for end in ("low", "high", "value")
            )
            points = f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]"
            yield from ("", f"Paired difference on the same prompts, {label}: {points}, 95 %.")
    if evaluation.get("best_constant") is not None:
        answer = evaluation.get("best_constant_answer")
        said = f" ({escape(answer)})" if answer is not None else ""
        yield from (
            "",
            f"The best constant answer{said} would score {_percent(evaluation['best_constant'])}.",
        )


def _rewards(rewards: Iterable[Mapping[str, Any]]) -> list[str]:
    rows = [
        f"| {escape(reward.get('fn') or reward.get('name'))} | {_weight(reward)} | "
        f"{escape(reward.get('sha256') or 'not recorded')} |"
        for reward in rewards
    ]
    head = ["## Rewards", "", "| function | weight | sha256 of its source |", "|---|---|---|"]
    return [*head, *rows] if rows else []


def _weight(reward: Mapping[str, Any]) -> str:
    weight = "gate" if reward.get("role") == "gate" else reward.get("weight", 1.0)
    return "only in the evaluation" if weight is None else escape(weight)


def _recipe(recipe: Mapping[str, Any]) -> list[str]:
    text = yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True).rstrip()
    return ["## Recipe", "", *framed(text.split("\n"), "yaml")]


def _usage(facts: CardFacts) -> list[str]:
    task, examples = (
        (tasks_of(facts.recipe) or [{}])[0],
        (facts.evaluation or {}).get("examples") or (),
    )
    prompt = str(examples[0]["prompt"] if examples else task.get("prompt") or "{prompt}")
    decoding = (facts.evaluation or {}).get("decoding") or {}
    tokens = (
        decoding.get("max_new_tokens")
        or (facts.recipe.get("grpo") or {}).get("max_completion_length")
        or 256
    )
    revision = (facts.recipe.get("model") or {}).get("revision")
    return usage(
        facts.repo,
        facts.hub_id if facts.what == "adapter" else None,
        revision,
        task,
        prompt,
        int(tokens),
    )


def _data(facts: CardFacts) -> list[str]:
    """Where model and rows come from, how many rows, and under which licences."""
    lines = ["## Base, data and licences", ""]
    stated = (facts.license or {}).get("license_name") or (facts.license or {}).get("license")
    lines.append(f"- base: {_link(facts.base, facts.hub_id, '')}, {_licence(stated)}")
    for task in tasks_of(facts.recipe):
        hub = task.get("hub") if task.get("hub") in facts.datasets else None
        made = (
            "made by a program"
            if not task.get("hub") and not task.get("file") and not task.get("rows")
            else ""
        )
        terms = _licence(facts.datasets.get(str(hub))) if hub else made or _licence(None)
        lines.append(f"- data: {_link(task_name(task), hub, 'datasets/')}, {terms}")
    for name, rows in (facts.manifest.get("rows") or {}).items():
        if isinstance(rows, Mapping) and rows.get("n") is not None:
            lines.append(
                f"- {escape(name.replace('_', '-'))}: {rows['n']} rows, sha256"
                f" {escape(rows.get('sha256'))}"
            )
    return lines


def _link(name: str, hub_id: str | None, kind: str) -> str:
    if hub_id and HUB_NAME.fullmatch(hub_id):
        return f"[{escape(name)}](https://huggingface.co/{kind}{hub_id})"
    return escape(name)


def _licence(stated: str | None) -> str:
    return f"licence {escape(stated)}" if stated else "licence as its owner states it"


def _again(facts: CardFacts) -> list[str]:
    """The commands that make the run again from what is published, and what it took the first
    time.
    """
    folder = facts.repo.rpartition("/")[2]
    commands = [
        f"hf download {facts.repo} --local-dir {folder}",
        f"llmpolicy train {folder}/recipe.yaml",
    ]
    lines = ["## How to make it again", "", "```bash", *commands, "```", ""]
    if facts.sources:
        lines += [
            (
                f"The recipe runs code of {', '.join(map(escape, sorted(facts.sources)))},"
                " published here: read it first."
            ),
            "",
        ]
    if facts.missing:
        needed = ", ".join(map(escape, facts.missing))
        lines += [f"Not published and needed beside the recipe: {needed}.", ""]
    if (facts.recipe.get("model") or {}).get("note"):
        lines += [
            (
                "The recipe names other weights than it was trained on (see above), so its figures"
                " differ."
            ),
            "",
        ]
    else:
        lines += [
            "With the same versions on a CPU the figures of the training curve come out again.",
            "",
        ]
    return [*lines, *_made(facts)]


def _made(facts: CardFacts) -> Iterator[str]:
    manifest = facts.manifest
    versions = manifest.get("versions") or {}
    known = {
        "steps": manifest.get("steps"),
        "seed": manifest.get("seed"),
        "made with": ", ".join(
            f"{name} {versions[name]}" for name in RELEASES if versions.get(name)
        ),
        "on": _hardware(manifest),
        "took": _took(manifest),
        "recipe": manifest.get("recipe_hash"),
    }
    yield from (
        f"- {key}: {escape(value)}" for key, value in known.items() if value not in (None, "")
    )
    yield "- all else that was recorded: llmpolicy\\_manifest.json"


def _hardware(manifest: Mapping[str, Any]) -> str:
    hardware = manifest.get("hardware") or {}
    processes = manifest.get("world_size") or 1
    parts = [
        *(hardware.get("gpus") or []),
        f"{hardware['cores']} cores" if hardware.get("cores") else "",
    ]
    parts += [f"{processes} processes" if processes > 1 else ""]
    return ", ".join(str(part) for part in parts if part)


def _took(manifest: Mapping[str, Any]) -> str | None:
    try:
        begun, ended = (
            datetime.strptime(manifest[key], "%Y-%m-%dT%H:%M:%S%z") for key in ("started", "ended")
        )
    except (KeyError, TypeError, ValueError):
        return None
    seconds = (ended - begun).total_seconds()
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.0f} seconds"


def task_name(task: Mapping[str, Any]) -> str:
    """What a task is called: its name, Hub dataset or reasoning-gym generator, or the last part of
    its file's path.
    """
    if task.get("name"):
        return str(task["name"])
    for source in TASK_SOURCES:
        if task.get(source):
            name = str(task[source])
            return PurePosixPath(name).name if source in ("file", "generator") else name
    return "an unnamed task"


def tasks_of(recipe: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    task = recipe.get("task") or []
    return [task] if isinstance(task, Mapping) else list(task)


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_flat(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(_flat(item) for item in value)
    return str(value)


def _percent(value: Any) -> str:
    return "–" if value is None else f"{100 * float(value):.1f} %"


def _number(value: Any) -> str:
    return "–" if value is None else f"{float(value):.3g}"


def _return(value: Mapping[str, Any] | None) -> str:
    return f"{value['value']:.4g} [{value['low']:.4g}, {value['high']:.4g}]" if value else "–"


def _interval(value: Mapping[str, Any] | None) -> str:
    if not value:
        return "–"
    low, high = (100 * float(value[end]) for end in ("low", "high"))
    return f"{_percent(value['value'])} [{low:.1f}, {high:.1f}]"
