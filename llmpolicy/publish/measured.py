"""What a card shows of an evaluation: the table of before and after, and what is sure of it."""

from collections.abc import Callable, Iterator
from typing import Any

from llmpolicy.publish.shown import Lines, Record, escape


def percent(value: Any) -> str:
    """A share in percent; a dash where there is none."""
    return "–" if value is None else f"{100 * float(value):.1f} %"


def _number(value: Any) -> str:
    return "–" if value is None else f"{float(value):.3g}"


def _return(value: Record | None) -> str:
    return f"{value['value']:.4g} [{value['low']:.4g}, {value['high']:.4g}]" if value else "–"


def _interval(value: Record | None) -> str:
    if not value:
        return "–"
    low, high = 100 * float(value["low"]), 100 * float(value["high"])
    return f"{percent(value['value'])} [{low:.1f}, {high:.1f}]"


Figures = tuple[tuple[str, str, Callable[[Any], str]], ...]
SUCCESS: Figures = (
    ("greedy accuracy [95 % interval]", "accuracy", _interval),
    ("sampled accuracy [95 % interval]", "sampled_accuracy", _interval),
    ("greedy return [95 % interval]", "return", _return),
    ("sampled return [95 % interval]", "sampled_return", _return),
)
BEHAVIOUR: Figures = (
    ("cut off by the length limit", "truncated", percent),
    ("mean length, tokens", "mean_length", _number),
    ("KL to the base, nats a token", "kl_to_base", _number),
)


def table(evaluation: Record) -> Lines:
    """The figures of an evaluation beside those of the policy that training began with."""
    base = evaluation.get("base") or {}
    before, after = base.get("pass_at_k") or {}, evaluation.get("pass_at_k") or {}
    start = "untrained" if evaluation.get("return") else "base"
    lines = [f"| | {start} | trained |", "|---|---|---|", *_lines(SUCCESS, base, evaluation)]
    for k in after:
        lines.append(
            f"| pass@{escape(k)}, sampled | {percent(before.get(k))} | {percent(after[k])} |"
        )
    return lines + _lines(BEHAVIOUR, base, evaluation)


def _lines(figures: Figures, base: Record, evaluation: Record) -> Lines:
    lines = []
    for label, key, shown in figures:
        if evaluation.get(key) is not None:
            lines.append(f"| {label} | {shown(base.get(key))} | {shown(evaluation[key])} |")
    return lines


def verdict(evaluation: Record) -> Iterator[str]:
    """How sure the difference is, and what the best constant answer would score."""
    for label, key in (("greedy", "paired_difference"), ("sampled", "paired_difference_sampled")):
        if difference := evaluation.get(key):
            low, high = 100 * float(difference["low"]), 100 * float(difference["high"])
            points = f"{100 * float(difference['value']):+.1f} points [{low:+.1f}, {high:+.1f}]"
            yield from ("", f"Paired difference on the same prompts, {label}: {points}, 95 %.")
    if evaluation.get("best_constant") is not None:
        answer = evaluation.get("best_constant_answer")
        shown = "" if answer is None else f" ({escape(answer)})"
        share = percent(evaluation["best_constant"])
        yield from ("", f"The best constant answer{shown} would score {share}.")
