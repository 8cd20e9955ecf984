"""The model card: what was trained, by which rewards, how good it was before and after, and what nobody checked."""

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCardData

TASK_SOURCES = ("hub", "reasoning_gym", "file", "generator")
NOT_CHECKED = (
    "any task, language or prompt format other than the held-out prompts above",
    "safety, bias, truthfulness, memorised or private text: training by a reward can change all of them unseen",
    "whether the base model had met the held-out questions in its own pre-training",
    "answers that please the reward functions without being right, beyond what the table shows",
)


@dataclass(frozen=True, slots=True)
class CardFacts:
    """All that a card may say.

    ``what`` is published (adapter, merged), ``which`` weights of the run (last, best), ``trained`` the parameters that
    moved (adapter, full). ``evaluation`` has the form of evaluation.json and was measured on the published weights,
    unless ``measured_on_last``: then on those of the last step, while others are published.
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
    license: str | None = None


def card(facts: CardFacts) -> str:
    """The text of README.md: the Hub's metadata as YAML, then Markdown in which every name is escaped."""
    sections = (
        _head(facts),
        _results(facts),
        _rewards(facts.manifest.get("rewards") or facts.recipe.get("rewards") or ()),
        _recipe(facts.recipe),
        _training(facts.manifest),
        _loading(facts),
        ["## What it was not checked for", "", *(f"- {line}" for line in NOT_CHECKED)],
    )
    body = "\n\n".join("\n".join(section) for section in sections if section)
    return f"---\n{metadata(facts).to_yaml()}\n---\n\n{body}\n"


def metadata(facts: CardFacts) -> ModelCardData:
    """What the Hub reads of a card. Nothing is guessed: no license and no base model unless they are known."""
    algorithm = "grpo" if facts.recipe.get("grpo") is not None else "reinforce"
    lora = ["lora"] if facts.trained == "adapter" else []
    relation = "adapter" if facts.what == "adapter" else "finetune"
    return ModelCardData(
        library_name="peft" if facts.what == "adapter" else "transformers",
        license=facts.license,
        pipeline_tag="text-generation",
        tags=["llmpolicy", "reinforcement-learning", algorithm, *lora],
        datasets=[str(task["hub"]) for task in _tasks(facts.recipe) if task.get("hub")] or None,
        model_name=facts.repo.rpartition("/")[2],
        eval_results=_model_index(facts),
        base_model=facts.hub_id,
        **({"base_model_relation": relation} if facts.hub_id else {}),  # type: ignore[arg-type]
    )


def escape(value: object) -> str:
    """Text as Markdown shows it literally, on one line: no markup, link, table cell, formula or HTML comes from it."""
    line = html.escape(" ".join(str(value).split()), quote=False)
    literal = re.sub(r"([\\`*_{}\[\]!|~@#$])", r"\\\1", line)
    # Bare addresses become links without any markup.
    return literal.replace("://", ":\\//").replace("www.", "www\\.")


def _model_index(facts: CardFacts) -> list[EvalResult] | None:
    accuracy = (facts.evaluation or {}).get("accuracy")
    if not accuracy or facts.evaluation is None or facts.measured_on_last:
        return None
    task = (_tasks(facts.recipe) or [{}])[0]
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=str(task.get("hub") or "llmpolicy-held-out"),
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
    moment = "the step with the best held-out accuracy" if facts.which == "best" else "the last step"
    tasks = ", ".join(escape(task_name(task)) for task in _tasks(facts.recipe)) or "an unnamed task"
    method = "GRPO" if facts.recipe.get("grpo") is not None else "REINFORCE"
    lines = [
        f"# {escape(facts.repo.rpartition('/')[2])}",
        "",
        f"This is {escape(facts.base)}, fine-tuned by reinforcement learning ({method}) on {tasks}: "
        f"{form} of {moment}, trained and published with llmpolicy.",
    ]
    return lines + [line for note in _notes(facts) for line in ("", note)]


def _notes(facts: CardFacts) -> Iterator[str]:
    """What a reader would take wrongly if it were not said."""
    model = facts.recipe.get("model") or {}
    if model.get("note"):
        yield f"The weights it was trained on: {escape(model['note'])}."
        if facts.hub_id and facts.what == "adapter":
            yield f"On the weights of {escape(facts.hub_id)} itself the adapter's figures may differ from those below."
    if model.get("quantize"):
        yield f"During training the base was quantised ({escape(model['quantize'])})."
    if facts.which == "best":
        yield "The step was chosen by the same held-out prompts, so its accuracy is somewhat optimistic."


def _results(facts: CardFacts) -> list[str]:
    lines = ["## Before and after", ""]
    evaluation = facts.evaluation
    if evaluation is None:
        return [*lines, "Not evaluated: the run has no evaluation.json."]
    if facts.measured_on_last:
        best = facts.manifest.get("best") or {}
        lines += [f"**Measured on the last step, not on the published weights** ({_best(best)}).", ""]
    decoding = escape(_flat(evaluation.get("decoding", "unknown")))
    lines += [f"{evaluation.get('n')} held-out prompts, none of them seen in training; decoding: {decoding}.", ""]
    if facts.what == "merged" and facts.trained == "adapter":
        lines += ["Measured before the adapter was merged.", ""]
    return [*lines, *_table(evaluation), *_verdict(evaluation)]


def _best(best: Mapping[str, Any]) -> str:
    if not best:
        return "these were not evaluated"
    return f"step {best.get('step')}; its accuracy during training was {_percent(best.get('accuracy'))}"


def _table(evaluation: Mapping[str, Any]) -> list[str]:
    base = evaluation.get("base") or {}
    rows = [
        (f"{label} accuracy [95 % interval]", _interval(base.get(key)), _interval(evaluation[key]))
        for label, key in (("greedy", "accuracy"), ("sampled", "sampled_accuracy"))
        if evaluation.get(key)
    ]
    before, after = base.get("pass_at_k") or {}, evaluation.get("pass_at_k") or {}
    rows += [(f"pass@{escape(k)}, sampled", _percent(before.get(k)), _percent(after[k])) for k in after]
    for label, key, show in (
        ("cut off by the length limit", "truncated", _percent),
        ("mean length, tokens", "mean_length", _number),
        ("KL to the base, nats a token", "kl_to_base", _number),
    ):
        if evaluation.get(key) is not None:
            rows.append((label, show(base.get(key)), show(evaluation[key])))
    return ["| | base | trained |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]


def _verdict(evaluation: Mapping[str, Any]) -> Iterator[str]:
    for label, key in (("greedy", "paired_difference"), ("sampled", "paired_difference_sampled")):
        if evaluation.get(key):
            low, high, value = (100 * float(evaluation[key][end]) for end in ("low", "high", "value"))
            points = f"{value:+.1f} points [{low:+.1f}, {high:+.1f}]"
            yield from ("", f"Paired difference on the same prompts, {label}: {points}, 95 %.")
    if evaluation.get("best_constant") is not None:
        answer = evaluation.get("best_constant_answer")
        said = f" ({escape(answer)})" if answer is not None else ""
        yield from ("", f"The best constant answer{said} would score {_percent(evaluation['best_constant'])}.")


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
    # The fence must be longer than any run of backticks inside a prompt.
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return ["## Recipe", "", f"{fence}yaml", text, fence]


def _training(manifest: Mapping[str, Any]) -> list[str]:
    skipped = {"schema", "rewards", "evaluation"}
    facts = {key: value for key, value in manifest.items() if key not in skipped and value not in (None, [], {})}
    rows = [f"| {escape(key)} | {escape(_flat(value))} |" for key, value in facts.items()]
    return ["## Training", "", "| fact | value |", "|---|---|", *rows] if rows else []


def _loading(facts: CardFacts) -> list[str]:
    revision = (facts.recipe.get("model") or {}).get("revision")
    pinned = f", revision={revision!r}" if revision else ""
    adapter = (
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f"base = AutoModelForCausalLM.from_pretrained({facts.hub_id!r}{pinned})",
        f"model = PeftModel.from_pretrained(base, {facts.repo!r})",
    )
    merged = (
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f"model = AutoModelForCausalLM.from_pretrained({facts.repo!r})",
    )
    tokenizer = f"tokenizer = AutoTokenizer.from_pretrained({facts.repo!r})"
    model = adapter if facts.what == "adapter" else merged
    return ["## How to load it", "", "```python", *model, tokenizer, "```"]


def task_name(task: Mapping[str, Any]) -> str:
    """What a task is called: its name, Hub dataset or reasoning-gym generator, or the last part of its file's path."""
    if task.get("name"):
        return str(task["name"])
    for source in TASK_SOURCES:
        if task.get(source):
            name = str(task[source])
            return PurePosixPath(name).name if source in ("file", "generator") else name
    return "an unnamed task"


def _tasks(recipe: Mapping[str, Any]) -> list[Mapping[str, Any]]:
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


def _interval(value: Mapping[str, Any] | None) -> str:
    if not value:
        return "–"
    low, high = (100 * float(value[end]) for end in ("low", "high"))
    return f"{_percent(value['value'])} [{low:.1f}, {high:.1f}]"
