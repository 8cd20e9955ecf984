"""What a card shows of a run: its curve, what the model wrote before and after, and how to ask it
the same way.
"""

import html
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any

from llmpolicy.errors import one_line
from llmpolicy.terminal import visible

Record = Mapping[str, Any]
"""Plain data by name: a recipe, a task, an evaluation, the metrics of a step."""
Data = dict[str, Any]
"""The same, to be changed."""
Lines = list[str]
BARS = "▁▂▃▄▅▆▇█"
POINTS = 8
"""Rows of the table of a curve."""
WIDTH = 40
"""Signs of a curve in one line."""
LONGEST = 600
"""Characters of a prompt or completion that are shown."""
CURVES = (
    ("reward", "reward"),
    ("episode_length", "steps an episode"),
    ("accuracy", "held-out accuracy, greedy"),
    ("completions/mean_length", "tokens a completion"),
    ("kl", "KL to the reference"),
)


def escape(value: object) -> str:
    """Text as Markdown shows it literally, on one line: no markup, link, table cell, formula or
    HTML comes from it.
    """
    line = html.escape(one_line(value), quote=False)
    literal = re.sub(r"([\\`*_{}\[\]!|~@#$])", r"\\\1", line)
    # Bare addresses become links without any markup.
    return literal.replace("://", ":\\//").replace("www.", "www\\.")


def curve(train: Sequence[Record], evaluations: Sequence[Record], seed: Any) -> Lines:
    """The training curve as one line of bars and a table of some steps; empty without a metric."""
    looks = {line["step"]: line for line in evaluations}
    lines, rewards = [], []
    for line in train:
        if _finite(line.get("reward")):
            lines.append({**looks.get(line["step"], {}), **line})
            rewards.append(float(line["reward"]))
    if not lines:
        return []
    columns = {"step": "step"}
    for key, title in CURVES:
        if any(_finite(line.get(key)) for line in lines):
            columns[key] = title
    body = []
    for line in _spread(lines, looks):
        figures = [_figure(line.get(key)) for key in columns]
        figures[0] = str(line["step"])
        body.append(f"| {' | '.join(figures)} |")
    return [
        "## Training curve",
        "",
        (
            f"Mean reward of what was sampled, over {len(lines)} steps, seed {seed}, "
            f"from {min(rewards):.3g} to {max(rewards):.3g}:"
        ),
        "",
        "```text",
        bars(rewards),
        "```",
        "",
        f"| {' | '.join(columns.values())} |",
        f"|{'---|' * len(columns)}",
        *body,
    ]


def bars(values: Sequence[float], width: int = WIDTH) -> str:
    """Values as bars between their least and greatest, the means of neighbours where they are more
    than ``width``.
    """
    count = min(width, len(values))
    cuts = [round(index * len(values) / count) for index in range(count + 1)]
    means = [fmean(values[start:end]) for start, end in pairwise(cuts)]
    low, high = min(means), max(means)
    scale = (len(BARS) - 1) / ((high - low) or math.inf)
    return "".join(BARS[round((mean - low) * scale)] for mean in means)


def samples(evaluation: Record | None) -> Lines:
    """The first held-out prompts with what the base and the trained policy wrote; empty where none
    were kept.
    """
    after = _examples(evaluation)
    if not after:
        return []
    before = {
        str(example["prompt"]): example for example in _examples((evaluation or {}).get("base"))
    }
    lines = [
        "## Before and after, in its own words",
        "",
        "The first held-out prompts, greedy; none was picked.",
    ]
    for example in after:
        lines += ["", "Prompt:", "", *fenced(example["prompt"])]
        untrained = before.get(str(example["prompt"]))
        for name, written in (("base", untrained), ("trained", example)):
            if written:
                head = f"The {name} model wrote, {_judged(written.get('right'))}:"
                lines += ["", head, "", *fenced(written["completion"])]
    return lines


def _examples(evaluation: Record | None) -> Sequence[Record]:
    return (evaluation or {}).get("examples") or ()


def fenced(text: Any) -> Lines:
    """A text as it is, in which nothing can end its frame or be markup, and nothing is hidden."""
    shown = str(text)
    if len(shown) > LONGEST:
        shown = f"{shown[:LONGEST]} ... ({len(shown)} characters)"
    return framed(list(map(visible, shown.split("\n"))), "text")


def framed(lines: Sequence[str], kind: str) -> Lines:
    """Lines of code in a frame that none of them can end."""
    longest = max(re.findall(r"`+", "\n".join(lines)), key=len, default="")
    fence = "`" * max(3, 1 + len(longest))
    return [f"{fence}{kind}", *lines, fence]


def usage(
    repo: str,
    base: str | None,
    revision: str | None,
    task: Record,
    prompt: str,
    tokens: int,
) -> Lines:
    """Python that loads what was published and asks it as in training; ``base`` for an adapter of
    that model.
    """
    peft, load = [], [f"model = AutoModelForCausalLM.from_pretrained({repo!r})"]
    if base:
        peft = ["from peft import PeftModel"]
        pinned = f", revision={revision!r}" if revision else ""
        load = [
            f"model = AutoModelForCausalLM.from_pretrained({base!r}{pinned})",
            f"model = PeftModel.from_pretrained(model, {repo!r})",
        ]
    ask = [f'inputs = tokenizer({prompt!r}, return_tensors="pt")']
    form = "The prompt is plain text without a chat template, as in training:"
    if task.get("chat", True):
        ask = _chat(task, prompt)
        form = "The prompt is a conversation in the chat template of its tokenizer, as in training:"
    code = [
        *peft,
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f"tokenizer = AutoTokenizer.from_pretrained({repo!r})",
        *load,
        *ask,
        f"output = model.generate(**inputs, max_new_tokens={tokens}, do_sample=False)",
        (
            'print(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :],'
            " skip_special_tokens=True))"
        ),
    ]
    return ["## How to use it", "", form, "", *framed(code, "python")]


def _chat(task: Record, prompt: str) -> Lines:
    turns = [("system", task.get("system"))]
    for shot in task.get("few_shot") or ():
        turns += [("user", shot["user"]), ("assistant", shot["assistant"])]
    turns += [("user", prompt), ("assistant", task.get("prefill"))]
    lines = ["messages = ["]
    for role, content in turns:
        if content is not None:
            message = {"role": role, "content": content}
            lines.append(f"    {message!r},")
    ends = "add_generation_prompt" if task.get("prefill") is None else "continue_final_message"
    options = arguments(task.get("chat_template_kwargs") or {})
    return [
        *lines,
        "]",
        f"inputs = tokenizer.apply_chat_template(messages, {ends}=True, return_dict=True, "
        f'return_tensors="pt"{options})',
    ]


def arguments(options: Record) -> str:
    """Further arguments of a call, as Python writes them."""
    return "".join(f", {key}={value!r}" for key, value in options.items() if key.isidentifier())


def _judged(right: Any) -> str:
    if right is None:
        return "not judged"
    return "judged right" if right else "judged wrong"


def _spread(lines: Sequence[Record], looks: Mapping[int, Any]) -> Iterable[Record]:
    """Some lines from the first to the last, evenly spread; those with a held-out accuracy rather
    than others.
    """
    begun, *later = lines
    looked = [line for line in later if line["step"] in looks]
    if len(looked) + (begun["step"] in looks) > 1:
        lines = [begun, *looked]
    last = len(lines) - 1
    indices = {round(point * last / (POINTS - 1)) for point in range(POINTS)}
    return [lines[index] for index in sorted(indices)]


def _finite(value: Any) -> bool:
    # An integer may be longer than a float.
    return isinstance(value, int | float) and abs(value) <= sys.float_info.max


def _figure(value: Any) -> str:
    return f"{float(value):.4g}" if _finite(value) else "–"
