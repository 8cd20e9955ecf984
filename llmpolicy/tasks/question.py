"""What makes two rows the same question: a rule that gives what they ask one canonical form."""

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from llmpolicy.errors import TaskError, nearest
from llmpolicy.messages import content_text, is_messages
from llmpolicy.reference import named
from llmpolicy.tasks.spec import TaskSpec

NUMBER = re.compile(r"\d+(?:\.\d+)?")
UNORDERED = ("gcd", "lcm", "products")


def rule_name(spec: TaskSpec) -> str:
    """The rule that makes two rows the same question: their text, or for gcd(a, b) = gcd(b, a)
    their numbers in order.
    """
    if not spec.canonical and spec.reasoning_gym in UNORDERED:
        return "unordered_numbers"
    return str(spec.canonical or "text")


def users_rule(spec: TaskSpec, base_dir: Path | None) -> Callable[[Mapping[str, Any]], str] | None:
    """The user's own function of a row's columns, None where one of the built-in rules is asked
    for.
    """
    if callable(spec.canonical):
        return spec.canonical
    name = rule_name(spec)
    if name in BUILT_IN:
        return None
    if ":" not in name:
        raise TaskError(f"task {spec.label!r}: no canonical rule {name!r}{nearest(name, BUILT_IN)}")
    return named("canonical", name, base_dir, TaskError)


def text(prompt: Any) -> str:
    """A question as its text alone: one Unicode form, one blank between words; of messages, all but
    the system's.
    """
    if is_messages(prompt):
        prompt = "\n".join(_asks(message) for message in prompt if message["role"] != "system")
    elif not isinstance(prompt, str):
        prompt = json.dumps(prompt, sort_keys=True, default=str)
    return " ".join(unicodedata.normalize("NFC", prompt).split())


def _asks(message: Mapping[str, Any]) -> str:
    """What a message says, the tools that it calls included."""
    says = content_text(message.get("content"))
    if calls := message.get("tool_calls"):
        says += json.dumps(calls, sort_keys=True, default=str)
    return says


def unordered_numbers(prompt: Any) -> str:
    """A question as its words and its numbers in order of size, for questions whose numbers may
    change places.
    """
    words = text(prompt)
    numbers = sorted(NUMBER.findall(words), key=lambda number: (float(number), number))
    return f"{NUMBER.sub('#', words)} | {' '.join(numbers)}"


BUILT_IN: dict[str, Callable[[Any], str]] = {"text": text, "unordered_numbers": unordered_numbers}
