"""What a card shows of a run: its curve, what the model wrote before and after, and how to ask it
the same way.
"""

import html
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from llmpolicy.terminal import visible

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
    line = html.escape(" ".join(str(value).split()), quote=False)
    literal = re.sub(r"([\\`*_{}\[\]!|~@#$])", r"\\\1", line)
    # Bare addresses become links without any markup.
    return literal.replace("://", ":\\//").replace("www.", "www\\.")


def curve(
    train: Sequence[Mapping[str, Any]], evaluations: Sequence[Mapping[str, Any]], seed: Any
) -> list[str]:
    """The training curve as one line of bars and a table of some steps; empty without a metric."""
    looks = {line["step"]: line for line in evaluations}
    lines = [
        {**looks.get(line["step"], {}), **line} for line in train if _finite(line.get("reward"))
    ]
    if not lines:
        return []
    columns = [
        (key, title) for key, title in CURVES if any(_finite(line.get(key)) for line in lines)
    ]
    rewards = [float(line["reward"]) for line in lines]
    body = [
        f"| {line['step']} | {' | '.join(_figure(line.get(key)) for key, _ in columns)} |"
        for line in _spread(lines, looks)
    ]
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
        f"| step | {' | '.join(title for _, title in columns)} |",
        f"|---|{'---|' * len(columns)}",
        *body,
    ]


def bars(values: Sequence[float], width: int = WIDTH) -> str:
    """Values as bars between their least and greatest, the means of neighbours where they are more
    than ``width``.
    """
    count = min(width, len(values))
    cuts = [round(place * len(values) / count) for place in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in zip(cuts, cuts[1:], strict=False)]
    low, high = min(means), max(means)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((mean - low) * scale)] for mean in means)


def samples(evaluation: Mapping[str, Any] | None) -> list[str]:
    """The first held-out prompts with what the base and the trained policy wrote; empty where none
    were kept.
    """
    after = (evaluation or {}).get("examples") or ()
    before = {
        str(item["prompt"]): item
        for item in ((evaluation or {}).get("base") or {}).get("examples") or ()
    }
    lines = [
        "## Before and after, in its own words",
        "",
        "The first held-out prompts, greedy; none was picked.",
    ]
    for item in after:
        lines += ["", "Prompt:", "", *fenced(item["prompt"])]
        for name, written in (("base", before.get(str(item["prompt"]))), ("trained", item)):
            if written:
                lines += [
                    "",
                    f"The {name} model wrote, {_judged(written.get('right'))}:",
                    "",
                    *fenced(written["completion"]),
                ]
    return lines if after else []


def fenced(text: Any) -> list[str]:
    """A text as it is, in which nothing can end its frame or be markup, and nothing is hidden."""
    whole = str(text)
    shown = whole if len(whole) <= LONGEST else f"{whole[:LONGEST]} ... ({len(whole)} characters)"
    plain = [visible(line) for line in shown.split("\n")]
    return framed(plain, "text")


def framed(lines: Sequence[str], kind: str) -> list[str]:
    """Lines of code in a frame that none of them can end."""
    fence = "`" * max(
        3, 1 + max((len(run) for line in lines for run in re.findall(r"`+", line)), default=0)
    )
    return [f"{fence}{kind}", *lines, fence]


def usage(
    repo: str,
    base: str | None,
    revision: str | None,
    task: Mapping[str, Any],
    prompt: str,
    tokens: int,
) -> list[str]:
    """Python that loads what was published and asks it as in training; ``base`` for an adapter of
    that model.
    """
    pinned = f", revision={revision!r}" if revision else ""
    chat = task.get("chat", True)
    peft = ["from peft import PeftModel"] if base else []
    load = [
        f"model = AutoModelForCausalLM.from_pretrained({base or repo!r}{pinned if base else ''})"
    ]
    load += [f"model = PeftModel.from_pretrained(model, {repo!r})"] if base else []
    ask = _chat(task, prompt) if chat else [f'inputs = tokenizer({prompt!r}, return_tensors="pt")']
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
    return [
        "## How to use it",
        "",
        (
            "The prompt is a conversation in the chat template of its tokenizer, as in training:"
            if chat
            else "The prompt is plain text without a chat template, as in training:"
        ),
        "",
        *framed(code, "python"),
    ]


def _chat(task: Mapping[str, Any], prompt: str) -> list[str]:
    shots = [(role, said) for shot in task.get("few_shot") or () for role, said in _turns(shot)]
    turns = [
        ("system", task.get("system")),
        *shots,
        ("user", prompt),
        ("assistant", task.get("prefill")),
    ]
    messages = [{"role": role, "content": said} for role, said in turns if said is not None]
    ends = "continue_final_message" if task.get("prefill") is not None else "add_generation_prompt"
    kwargs = (task.get("chat_template_kwargs") or {}).items()
    options = "".join(f", {key}={value!r}" for key, value in kwargs if key.isidentifier())
    return [
        "messages = [",
        *(f"    {message!r}," for message in messages),
        "]",
        f"inputs = tokenizer.apply_chat_template(messages, {ends}=True, return_dict=True, "
        f'return_tensors="pt"{options})',
    ]


def _turns(shot: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from ((role, shot[role]) for role in ("user", "assistant"))


def _judged(right: Any) -> str:
    return "not judged" if right is None else "judged right" if right else "judged wrong"


def _spread(
    lines: Sequence[Mapping[str, Any]], looks: Mapping[int, Any]
) -> Iterable[Mapping[str, Any]]:
    """Some lines from the first to the last, evenly spread; those with a held-out accuracy rather
    than others.
    """
    looked = [line for line in lines if line["step"] in looks]
    among = (
        lines
        if len(looked) < 2
        else [*lines[:1], *(line for line in looked if line is not lines[0])]
    )
    last = len(among) - 1
    places = sorted({round(place * last / (POINTS - 1)) for place in range(POINTS)})
    return [among[place] for place in places]


def _finite(value: Any) -> bool:
    return (
        isinstance(value, int | float) and abs(value) <= sys.float_info.max
    )  # an integer may be longer than a float


def _figure(value: Any) -> str:
    return f"{float(value):.4g}" if _finite(value) else "–"
