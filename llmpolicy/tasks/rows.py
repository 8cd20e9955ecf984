"""From a row to a prompt: columns renamed and extracted, the template filled in, the conversation
put together.
"""

import ast
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from llmpolicy.bounded import load_json
from llmpolicy.episode import Episode
from llmpolicy.errors import TaskError, nearest
from llmpolicy.messages import (
    Conversation,
    Message,
    content_text,
    is_messages,
    plain,
)
from llmpolicy.rewards import RESERVED
from llmpolicy.tasks.columns import (
    MEANT,
    names_media,
    refuse_media,
    say_unused,
    system_text,
    template_options,
)
from llmpolicy.tasks.content import (
    as_python,
    column_text,
    fields,
    fill,
    is_media,
    is_talk,
    is_text,
    only_field,
    readable,
    refuse_gold,
)
from llmpolicy.tasks.question import BUILT_IN, rule_name, text, users_rule
from llmpolicy.tasks.spec import Example, TaskSpec
from llmpolicy.types import Prompt, Sample

_ROLE = re.compile(r"""["'](?:role|from)["']""")
_WRITTEN = re.compile(r"""\[\s*\{(?=.*["']role["']:)(?=.*["']content["']:).*\}\s*\]""", re.DOTALL)
_LINES = re.compile(r"\}\s*\n\s*\{")
TALKS = ("messages", "conversation", "conversations")
"""Columns that hold a whole talk, its last reply included."""


@dataclass(frozen=True)
class Row:
    """One prompt with what its rewards need; ``index`` is its place in the source, ``question`` its
    canonical form.
    """

    prompt: Prompt
    columns: Mapping[str, Any]
    index: int
    question: str
    task: str

    def sample(self, episode: Episode) -> Sample:
        """An episode of this row as the rewards see it: what was continued, and what came of it."""
        last, messages, dialogue = episode.turns[-1], None, episode.dialogue
        if dialogue is not None:
            messages = list(dialogue.messages)
        elif not isinstance(self.prompt, str):
            messages = plain(self.prompt)
        return Sample(
            last.text,
            self.columns,
            episode.turns[0].prompt,
            messages,
            episode.tokens()[0],
            last.truncated,
            last.version,
            self.index,
            self.task,
            last.raw,
            dialogue,
        )


def prompt_text(prompt: Prompt) -> str:
    """A prompt as a person would quote it: the text itself, or what the user said last."""
    if isinstance(prompt, str):
        return prompt
    for message in reversed(prompt):
        if message.get("role") == "user":
            return content_text(message.get("content"))
    return ""


def make_rows(
    spec: TaskSpec,
    raws: Sequence[Mapping[str, Any]],
    base_dir: Path | None,
    examples: Sequence[Example] | None = None,
) -> list[Row]:
    """Every row of a source as a prompt with columns; a row that is also a few-shot example is left
    out.

    ``examples`` are those of all tasks of a recipe, this task's own by default. Raises TaskError
    with the row and the nearest column when a column, a gold answer or a match is missing.
    """
    canonical = users_rule(spec, base_dir)
    same = BUILT_IN.get(rule_name(spec), text)
    if examples is None:
        examples = spec.few_shot
    shown = {same(example.user) for example in examples}
    gold = _gold(spec, raws)
    rows = []
    for index, raw in enumerate(raws):
        where = f"task {spec.label!r}, row {index}"
        columns = _extract(spec, _rename(spec, raw, where), where)
        user = _user(spec, columns, where)
        _check_columns(columns, gold, where)
        asked = question = same(_asked(spec, columns, user))
        if not asked:
            raise TaskError(f"{where}: the question is blank")
        if canonical:
            question = canonical({**columns, "prompt": user})
        if not isinstance(question, str):
            raise TaskError(f"{where}: canonical returned {question!r:.60}, expected a text")
        if shown.isdisjoint((same(user), asked)):
            prompt = _prompt(spec, user, columns, where)
            rows.append(Row(prompt, columns, index, question, spec.label))
    if not rows:
        raise TaskError(
            f"task {spec.label!r}: every row is a few-shot example, none is left to train on"
        )
    if not spec.chat:
        columns_there = set[str]().union(*(row.columns for row in rows))
        say_unused(columns_there.difference(fields(spec.template)), spec.label)
    return rows


def _gold(spec: TaskSpec, raws: Sequence[Mapping[str, Any]]) -> set[str]:
    """The columns that no row may lack: the named ones and the answer, but for images and sounds.

    Some generators of reasoning-gym have no single answer: their scorers read the metadata.
    """
    gold = {*spec.columns, *spec.extract}
    if spec.reasoning_gym is None and any("answer" in raw for raw in raws):
        gold.add("answer")
    return gold - {"prompt", *_media(spec, raws)}


def _rename(spec: TaskSpec, raw: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Add each column under the name the rewards use; a reserved name that was given another name
    goes.
    """
    columns = dict(raw)
    for name in spec.columns.values():
        if name not in raw:
            raise TaskError(f"{where}: no column {name!r}{nearest(name, raw)}")
        if _is_meant(name, raw[name]):
            columns.pop(name, None)
    for name, column in spec.columns.items():
        columns[name] = raw[column]
    return columns


def _media(spec: TaskSpec, raws: Sequence[Mapping[str, Any]]) -> set[str]:
    """The names that the task gives to columns with images or sounds, which a row may also lack."""
    media = set()
    for new, old in spec.columns.items():
        if names_media(old) or any(is_media(raw.get(old)) for raw in raws):
            media.add(new)
    return media


def _is_meant(name: str, value: Any) -> bool:
    """Whether a column means something by its name or by what it holds, so that another name takes
    that away.
    """
    return name in (*RESERVED, *MEANT) or names_media(name) or is_media(value)


def _extract(spec: TaskSpec, columns: dict[str, Any], where: str) -> dict[str, Any]:
    for column, pattern in spec.extract.items():
        if column not in columns:
            raise TaskError(
                f"{where}: no column {column!r} to extract from{nearest(column, columns)}"
            )
        match = re.search(pattern, column_text(columns[column], column, where))
        if not match or not match[1]:
            raise TaskError(f"{where}: {column} {columns[column]!r:.80} does not match {pattern!r}")
        columns[column] = match[1].strip()
    return columns


def _user(spec: TaskSpec, columns: dict[str, Any], where: str) -> Any:
    """What the user says: the template filled in, or the one column that is the whole prompt, a
    text or messages.
    """
    name = _whole(spec, columns)
    user = name and messages_in(columns.get(name), where)
    is_prompt = spec.prompt is None and name == "prompt"
    if is_prompt:
        del columns["prompt"]
    if is_messages(user):
        return _messages(spec, user, str(name), where)
    if (is_prompt and not isinstance(user, str)) or (spec.prompt is None and not is_text(user)):
        raise TaskError(
            f"{where}: {name} is {user!r:.60}, expected a text or messages with role and content"
        )
    return user if is_prompt else _ask(spec, columns, where)


def _whole(spec: TaskSpec, columns: Mapping[str, Any]) -> str | None:
    """The column that is the prompt as it is: ``prompt``, ``question``, or a template's only
    word.
    """
    if spec.prompt is None and "prompt" in columns:
        return "prompt"
    return only_field(spec.template)


def _messages(spec: TaskSpec, value: Any, name: str, where: str) -> list[Message]:
    messages = readable(value, where)
    column = spec.columns.get(name, name)
    if (name != "prompt" or column in TALKS) and messages[-1]["role"] == "assistant":
        raise TaskError(
            f"{where}: {column} end in a reply of the assistant, which would be the beginning of"
            " every completion; expected them to end before it"
        )
    return messages


def messages_in(value: Any, where: str) -> Any:
    """Messages that a file of texts holds as JSON, or as Python or numpy writes them; anything else
    as it is.

    Those of ShareGPT's names are read as well, so that nobody takes them for a text. Raises
    TaskError for what was written as messages and cannot be read again.
    """
    value = as_python(value)
    if not isinstance(value, str) or not (value.lstrip().startswith("[") and _ROLE.search(value)):
        return value
    for read in (load_json, ast.literal_eval, _from_array):
        with suppress(ValueError, SyntaxError, RecursionError):
            messages = read(value.strip())
            return messages if is_messages(messages) or _is_sharegpt(messages) else value
    if _WRITTEN.fullmatch(value.strip()):
        raise TaskError(
            f"{where}: {value!r:.60} was written as messages and cannot be read; expected JSON"
        )
    return value


def _is_sharegpt(value: Any) -> bool:
    return is_talk(value) and all(turn.get("from") in ("human", "gpt", "system") for turn in value)


def _from_array(text: str) -> Any:
    """A list as numpy writes it, a line for each of its records; a line break within a text is
    written otherwise.
    """
    return ast.literal_eval(_LINES.sub("}, {", text))


def _ask(spec: TaskSpec, columns: Mapping[str, Any], where: str) -> str:
    if spec.prompt is None and "question" not in columns and "messages" in columns:
        raise TaskError(
            f"{where}: there are messages and no prompt; write `columns: {{prompt: messages}}`"
        )
    return fill(spec.template, columns, where)


def _asked(spec: TaskSpec, columns: Mapping[str, Any], user: Any) -> Any:
    """What a row asks, without the words of the template: two templates must not make two questions
    of one.
    """
    names = fields(spec.prompt or "")
    if not names or not isinstance(user, str):
        return user
    return " ".join(column_text(columns[name], name, "") for name in names)


def _check_columns(columns: Mapping[str, Any], gold: set[str], where: str) -> None:
    """A gold answer must be there, and no column may have a name that rewards get from
    elsewhere.
    """
    for name in columns:
        if name in RESERVED:
            raise TaskError(
                f"{where}: the column {name!r} has a reserved name; write `columns: {{my_{name}:"
                f" {name}}}`"
            )
    for name in sorted(gold):
        refuse_gold(columns.get(name), name, where)


def _prompt(
    spec: TaskSpec, user: str | list[Message], columns: Mapping[str, Any], where: str
) -> Prompt:
    """Chat messages, or with ``chat: false`` one text; with a prefill it ends in the beginning of
    the answer.
    """
    asked = fields(spec.template)
    refuse_media(columns, asked, spec.columns, where)
    system = _system(spec, columns, asked, where)
    if not spec.chat:
        if not isinstance(user, str):
            raise TaskError(
                f"{where}: prompt is a list of messages, expected a text because of `chat: false`"
            )
        return _plain(spec, user, system)
    turns = [_says("user", user)] if isinstance(user, str) else user
    messages: list[Message] = []
    if system is not None:
        if any(message["role"] == "system" for message in turns):
            owner = "row" if spec.system is None else "task"
            raise TaskError(
                f"{where}: the prompt has a system message, and so has the {owner}; keep one"
            )
        messages.append(_says("system", system))
    # Examples stand between the instructions of a conversation and its turns.
    rules = list(takewhile(lambda message: message["role"] in ("system", "developer"), turns))
    messages += rules
    for example in spec.few_shot:
        messages += _says("user", example.user), _says("assistant", example.assistant)
    messages += turns[len(rules) :]
    if spec.prefill is not None:
        messages.append(_says("assistant", spec.prefill))
    return Conversation(messages, **template_options(columns, asked, where))


def _says(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _system(
    spec: TaskSpec, columns: Mapping[str, Any], asked: Sequence[str], where: str
) -> str | None:
    """The system prompt, of the row or of the task."""
    row_system = system_text(columns, asked, where)
    if row_system is None:
        return spec.system
    if spec.system is not None:
        raise TaskError(
            f"{where}: the row has a system prompt of its own, and the task another; drop the"
            " task's `system`, or write `columns: {my_system: system}` for the row's"
        )
    return row_system


def _plain(spec: TaskSpec, user: str, system: str | None) -> str:
    """System, examples, prompt and prefill one after the other, as written: blanks and line breaks
    are theirs.
    """
    shots = [example.user + example.assistant for example in spec.few_shot]
    return "".join([system or "", *shots, user, spec.prefill or ""])
