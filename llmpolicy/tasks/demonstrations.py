"""Demonstrations for a supervised warm start: prompts with the reply that should be imitated."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmpolicy.errors import TaskError, nearest
from llmpolicy.messages import content_text, read_messages
from llmpolicy.tasks.prompts import make_rows
from llmpolicy.tasks.sources import read_rows
from llmpolicy.tasks.spec import TaskSpec
from llmpolicy.types import Prompt


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A prompt with its reply; ``question`` is the prompt's canonical form."""

    prompt: Prompt
    reply: str
    question: str


def load_demonstrations(spec: TaskSpec, base_dir: Path | None = None) -> list[Demonstration]:
    """The demonstrations of a source whose rows have a ``reply``, a ``completion``, or ``messages`` that end in one.

    Raises TaskError in one sentence, naming the row.
    """
    raws = [_replied(row, spec, index) for index, row in enumerate(read_rows(spec, base_dir))]
    return [Demonstration(row.prompt, row.columns["reply"], row.question) for row in make_rows(spec, raws, base_dir)]


def _replied(row: Mapping[str, Any], spec: TaskSpec, index: int) -> dict[str, Any]:
    """The row with its reply in the column ``reply``, and with messages as prompt and reply."""
    where = f"demonstrations {spec.label!r}, row {index}"
    found = dict(row)
    if "messages" in found and "reply" not in found and "prompt" not in found:
        *found["prompt"], found["reply"] = found.pop("messages")
    elif "reply" not in found and "completion" in found:
        found["reply"] = found.pop("completion")
    named = spec.columns.get("reply", "reply")
    if named not in found:
        raise TaskError(f"{where}: no column {named!r} with the reply{nearest(named, found)}")
    found[named] = reply_text(found[named], where)
    return found


def reply_text(reply: Any, where: str) -> str:
    """The text of a reply that is a text, or one message of the assistant; raises TaskError for anything else."""
    if isinstance(reply, list) and len(reply) == 1:
        reply = reply[0]
    if isinstance(reply, Mapping) and reply.get("role") == "assistant":
        try:
            reply = content_text(read_messages([reply])[0]["content"])
        except ValueError as error:
            raise TaskError(f"{where}: {error}") from error
    if not isinstance(reply, str):
        raise TaskError(f"{where}: found {reply!r:.60}, expected one reply: a text or a message of the assistant")
    if not reply.strip():
        raise TaskError(f"{where}: the reply is blank")
    return reply
