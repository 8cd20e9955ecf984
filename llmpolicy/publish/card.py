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
from llmpolicy.publish.measured import percent, table, verdict
from llmpolicy.publish.shown import Lines, Record, curve, escape, framed, samples, usage
from llmpolicy.tasks.spec import SOURCES

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
TIME = "%Y-%m-%dT%H:%M:%S%z"
RELEASES = ("llmpolicy", "torch", "transformers", "trl", "peft", "accelerate")
FORMS = {
    ("adapter", "adapter"): "a LoRA adapter",
    ("merged", "adapter"): "merged weights",
    ("merged", "full"): "full weights",
}
STEPS = {"best": "the step with the best held-out accuracy", "last": "the last step"}
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
    recipe: Record
    manifest: Record
    evaluation: Record | None
    base: str
    hub_id: str | None
    measured_on_last: bool = False
    license: Mapping[str, str] | None = None
    datasets: Mapping[str, str | None] = field(default_factory=dict)
    train: Sequence[Record] = ()
    looks: Sequence[Record] = ()
    sources: Sequence[str] = ()
    missing: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The repository without its owner."""
        return self.repo.rpartition("/")[2]

    @property
    def model(self) -> Record:
        """The block of the language model; empty for a small policy."""
        return self.recipe.get("model") or {}


def card(facts: CardFacts) -> str:
    """The text of README.md: the Hub's metadata as YAML, then Markdown in which every name is
    escaped.
    """
    data: Lines = []
    not_checked: tuple[str, ...] = NOT_CHECKED
    if facts.what == "policy":
        head = small.head(facts.repo, facts.base, facts.recipe, facts.which)
        use, not_checked = small.usage(facts.repo, facts.recipe), small.NOT_CHECKED
    else:
        head, use, data = _head(facts), _usage(facts), _data(facts)
    sections = (
        head,
        _results(facts),
        samples(facts.evaluation),
        curve(facts.train, facts.looks, facts.manifest.get("seed", facts.recipe.get("seed", 0))),
        use,
        _rewards(facts.manifest.get("rewards") or facts.recipe.get("rewards") or ()),
        data,
        _again(facts),
        _recipe(facts.recipe),
        ["## What it was not checked for", "", *map("- {}".format, not_checked)],
    )
    body = "\n\n".join(map("\n".join, filter(None, sections)))
    return f"---\n{metadata(facts).to_yaml()}\n---\n\n{body}\n"


def metadata(facts: CardFacts) -> ModelCardData:
    """What the Hub reads of a card. Nothing is guessed: no license and no base model unless they
    are known.
    """
    if facts.what == "policy":
        measured = None if facts.measured_on_last else facts.evaluation
        return small.metadata(facts.repo, facts.recipe, measured)
    tags = ["llmpolicy", "reinforcement-learning", _algorithm(facts).lower()]
    library, relation = "transformers", "finetune"
    if facts.trained == "adapter":
        tags.append("lora")
    if facts.what == "adapter":
        library, relation = "peft", "adapter"
    known: dict[str, Any] = dict(facts.license or {})
    if facts.hub_id:
        known["base_model_relation"] = relation
    return ModelCardData(
        library_name=library,
        pipeline_tag="text-generation",
        tags=tags,
        datasets=list(facts.datasets) or None,
        model_name=facts.name,
        eval_results=_model_index(facts),
        base_model=facts.hub_id,
        **known,
    )


def _algorithm(facts: CardFacts) -> str:
    return "REINFORCE" if facts.recipe.get("grpo") is None else "GRPO"


def _task(facts: CardFacts) -> Record:
    """The recipe's task, or the first of several."""
    return next(iter(tasks_of(facts.recipe)), {})


def _model_index(facts: CardFacts) -> list[EvalResult] | None:
    accuracy = (facts.evaluation or {}).get("accuracy")
    if not accuracy or facts.evaluation is None or facts.measured_on_last:
        return None
    task = _task(facts)
    hub, config = task.get("hub"), task.get("config")
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=str(hub) if hub in facts.datasets else "llmpolicy-held-out",
            dataset_name=f"{task_name(task)} (held out)",
            dataset_config=config if isinstance(config, str) else None,
            metric_type="accuracy",
            metric_name=f"greedy accuracy on {facts.evaluation.get('n')} held-out prompts",
            metric_value=round(float(accuracy["value"]), 4),
        )
    ]


def _head(facts: CardFacts) -> Lines:
    form = FORMS[facts.what, facts.trained]
    moment = STEPS[facts.which]
    names = map(task_name, tasks_of(facts.recipe))
    tasks = ", ".join(map(escape, names)) or "an unnamed task"
    lines = [
        f"# {escape(facts.name)}",
        "",
        (
            f"This is {escape(facts.base)}, fine-tuned by reinforcement learning"
            f" ({_algorithm(facts)}) on {tasks}: {form} of {moment}, trained and published with"
            " llmpolicy."
        ),
    ]
    for note in _notes(facts):
        lines += ["", note]
    return lines


def _notes(facts: CardFacts) -> Iterator[str]:
    """What a reader would take wrongly if it were not said."""
    model = facts.model
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


def _results(facts: CardFacts) -> Lines:
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
    how = f"{evaluation.get('n')} held-out prompts, none of them seen in training"
    if facts.what == "policy":
        how = f"{evaluation.get('n')} episodes"
    if evaluation.get("decoding"):
        how += f"; decoding: {escape(_flat(evaluation['decoding']))}"
    lines += [f"{how}. One training run, seed {escape(facts.recipe.get('seed', 0))}.", ""]
    if facts.what == "merged" and facts.trained == "adapter":
        lines += ["Measured before the adapter was merged.", ""]
    return [*lines, *table(evaluation), *verdict(evaluation)]


def _best(best: Record) -> str:
    if not best:
        return "these were not evaluated"
    return (
        f"step {best.get('step')}; its accuracy during training was {percent(best.get('accuracy'))}"
    )


def _rewards(rewards: Iterable[Record]) -> Lines:
    lines = ["## Rewards", "", "| function | weight | sha256 of its source |", "|---|---|---|"]
    for reward in rewards:
        name, digest = reward.get("fn") or reward.get("name"), reward.get("sha256")
        cells = (escape(name), _weight(reward), escape(digest or "not recorded"))
        lines.append(f"| {' | '.join(cells)} |")
    return lines if rewards else []


def _weight(reward: Record) -> str:
    if reward.get("role") == "gate":
        return "gate"
    weight = reward.get("weight", 1.0)
    return "only in the evaluation" if weight is None else escape(weight)


def _recipe(recipe: Record) -> Lines:
    text = yaml.safe_dump(dict(recipe), sort_keys=False, allow_unicode=True).rstrip()
    return ["## Recipe", "", *framed(text.split("\n"), "yaml")]


def _usage(facts: CardFacts) -> Lines:
    task, evaluation = _task(facts), facts.evaluation or {}
    prompt = task.get("prompt") or "{prompt}"
    for example in evaluation.get("examples") or ():
        prompt = example["prompt"]
        break
    decoding, grpo = evaluation.get("decoding") or {}, facts.recipe.get("grpo") or {}
    tokens = decoding.get("max_new_tokens") or grpo.get("max_completion_length") or 256
    revision = facts.model.get("revision")
    base = facts.hub_id if facts.what == "adapter" else None
    return usage(facts.repo, base, revision, task, str(prompt), int(tokens))


def _data(facts: CardFacts) -> Lines:
    """Where model and rows come from, how many rows, and under which licences."""
    lines = ["## Base, data and licences", ""]
    stated = (facts.license or {}).get("license_name") or (facts.license or {}).get("license")
    lines.append(f"- base: {_link(facts.base, facts.hub_id, '')}, {_licence(stated)}")
    for task in tasks_of(facts.recipe):
        hub, linked = task.get("hub"), None
        terms = _licence(facts.datasets.get(str(hub)))
        if hub in facts.datasets:
            linked = hub
        elif not hub and not task.get("file") and not task.get("rows"):
            terms = "made by a program"
        lines.append(f"- data: {_link(task_name(task), linked, 'datasets/')}, {terms}")
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


def _again(facts: CardFacts) -> Lines:
    """The commands that make the run again from what is published, and what it took the first
    time.
    """
    commands = [
        f"hf download {facts.repo} --local-dir {facts.name}",
        f"llmpolicy train {facts.name}/recipe.yaml",
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
    if facts.model.get("note"):
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
    releases = [f"{name} {versions[name]}" for name in RELEASES if versions.get(name)]
    recorded = {
        "steps": manifest.get("steps"),
        "seed": manifest.get("seed"),
        "made with": ", ".join(releases),
        "on": _hardware(manifest),
        "took": _took(manifest),
        "recipe": manifest.get("recipe_hash"),
    }
    for key, value in recorded.items():
        if value not in (None, ""):
            yield f"- {key}: {escape(value)}"
    yield "- all else that was recorded: llmpolicy\\_manifest.json"


def _hardware(manifest: Record) -> str:
    hardware = manifest.get("hardware") or {}
    processes = manifest.get("world_size") or 1
    parts = list(filter(None, hardware.get("gpus") or ()))
    if hardware.get("cores"):
        parts.append(f"{hardware['cores']} cores")
    if processes > 1:
        parts.append(f"{processes} processes")
    return ", ".join(map(str, parts))


def _took(manifest: Record) -> str | None:
    try:
        begun = datetime.strptime(manifest["started"], TIME)
        seconds = (datetime.strptime(manifest["ended"], TIME) - begun).total_seconds()
    except (KeyError, TypeError, ValueError):
        return None
    return f"{seconds / 60:.1f} minutes" if seconds >= 60 else f"{seconds:.0f} seconds"


def task_name(task: Record) -> str:
    """What a task is called: its name, Hub dataset or reasoning-gym generator, or the last part of
    its file's path.
    """
    if task.get("name"):
        return str(task["name"])
    for source in SOURCES:
        name = task.get(source)
        if name and source != "rows":
            return PurePosixPath(str(name)).name if source in ("file", "generator") else str(name)
    return "an unnamed task"


def tasks_of(recipe: Record) -> list[Record]:
    """The tasks of a recipe, which may be one or a list."""
    task = recipe.get("task") or []
    return [task] if isinstance(task, Mapping) else list(task)


def _flat(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_flat(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_flat, value))
    return str(value)
