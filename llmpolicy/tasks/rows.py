"""From a row to a prompt: columns renamed and extracted, the template filled in, the conversation
put together.
"""

import ast
import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
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
    read_messages,
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
from llmpolicy.tasks.content import as_python, is_media, is_talk, is_text, refuse_gold, said
from llmpolicy.tasks.sources import find_function
from llmpolicy.tasks.spec import Example, TaskSpec
from llmpolicy.types import Prompt, Sample

FIELD = re.compile(r"\{(\{\w+\})\}|\{([^\W\d]\w*)\}")
NUMBER = re.compile(r"\d+(?:\.\d+)?")
_ROLE = re.compile(r"""["'](?:role|from)["']""")
_WRITTEN = re.compile(r"""\[\s*\{(?=.*["']role["']:)(?=.*["']content["']:).*\}\s*\]""", re.DOTALL)
_LINES = re.compile(r"\}\s*\n\s*\{")
UNORDERED = ("gcd", "lcm", "products")
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
        first, last = episode.turns[0], episode.turns[-1]
        return Sample(
            last.text,
            self.columns,
            first.prompt,
            None if isinstance(self.prompt, str) else plain(self.prompt),
            episode.tokens()[0],
            last.truncated,
            last.version,
            self.index,
            self.task,
            last.raw,
        )


def prompt_text(prompt: Prompt) -> str:
    """A prompt as a person would quote it: the text itself, or what the user said last."""
    if isinstance(prompt, str):
        return prompt
    said = [
        content_text(message.get("content")) for message in prompt if message.get("role") == "user"
    ]
    return said[-1] if said else ""


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
    canonical = _canonical(spec, base_dir)
    same = BUILT_IN.get(rule_name(spec), text)
    shown = {same(example.user) for example in (spec.few_shot if examples is None else examples)}
    # Some generators of reasoning-gym have no single answer: their scorers read the metadata.
    answered = spec.reasoning_gym is None and any("answer" in raw for raw in raws)
    gold = {*spec.columns, *spec.extract, *(["answer"] if answered else [])} - {
        "prompt",
        *_media(spec, raws),
    }
    rows = []
    for index, raw in enumerate(raws):
        where = f"task {spec.label!r}, row {index}"
        columns = _extract(spec, _rename(spec, raw, where), where)
        user = _user(spec, columns, where)
        _check_columns(columns, gold, where)
        if not same(_asked(spec, columns, user)):
            raise TaskError(f"{where}: the question is blank")
        question = (
            canonical({**columns, "prompt": user})
            if canonical
            else same(_asked(spec, columns, user))
        )
        if not isinstance(question, str):
            raise TaskError(f"{where}: canonical returned {question!r:.60}, expected a text")
        if not shown & {same(user), same(_asked(spec, columns, user))}:
            rows.append(
                Row(_prompt(spec, user, columns, where), columns, index, question, spec.label)
            )
    if not rows:
        raise TaskError(
            f"task {spec.label!r}: every row is a few-shot example, none is left to train on"
        )
    if not spec.chat:
        say_unused({name for row in rows for name in row.columns} - _fields(spec), spec.label)
    return rows


def _rename(spec: TaskSpec, raw: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Add each column under the name the rewards use; a reserved name that was given another name
    goes.
    """
    for column in spec.columns.values():
        if column not in raw:
            raise TaskError(f"{where}: no column {column!r}{nearest(column, raw)}")
    named = set(spec.columns.values())
    kept = {
        name: value for name, value in raw.items() if not (name in named and _is_meant(name, value))
    }
    return kept | {name: raw[column] for name, column in spec.columns.items()}


def _media(spec: TaskSpec, raws: Sequence[Mapping[str, Any]]) -> set[str]:
    """The names that the task gives to columns with images or sounds, which a row may also lack."""
    columns = spec.columns.items()
    return {
        new
        for new, old in columns
        if names_media(old) or any(is_media(raw.get(old)) for raw in raws)
    }


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
        found = re.search(pattern, said(columns[column], column, where))
        if not found or not found[1]:
            raise TaskError(f"{where}: {column} {columns[column]!r:.80} does not match {pattern!r}")
        columns[column] = found[1].strip()
    return columns


def _user(spec: TaskSpec, columns: dict[str, Any], where: str) -> Any:
    """What the user says: the template filled in, or the one column that is the whole prompt, a
    text or messages.
    """
    name = _whole(spec, columns)
    user = messages_in(columns.get(name), where) if name else None
    own = spec.prompt is None and name == "prompt"
    if own:
        del columns["prompt"]
    if is_messages(user):
        return _messages(spec, user, str(name), where)
    if (own and not isinstance(user, str)) or (spec.prompt is None and not is_text(user)):
        raise TaskError(
            f"{where}: {name} is {user!r:.60}, expected a text or messages with role and content"
        )
    return user if own else _ask(spec, columns, where)


def _whole(spec: TaskSpec, columns: Mapping[str, Any]) -> str | None:
    """The column that is the prompt as it is: ``prompt``, ``question``, or a template's only
    word.
    """
    if spec.prompt is None:
        return "prompt" if "prompt" in columns else "question"
    field = FIELD.fullmatch(spec.prompt.strip())
    return field[2] if field else None


def _messages(spec: TaskSpec, given: Any, name: str, where: str) -> list[Message]:
    try:
        messages = read_messages(given)
    except ValueError as error:
        raise TaskError(f"{where}: {error}") from error
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
    return fill(spec.prompt if spec.prompt is not None else "{question}", columns, where)


def fill(template: str, columns: Mapping[str, Any], where: str = "template") -> str:
    """Put columns into the ``{name}`` fields of a template; ``{{name}}`` gives ``{name}``; all
    other braces stay.

    Raises TaskError with the nearest column for a field that no column fills.
    """

    def value(field: re.Match[str]) -> str:
        literal, name = field.groups()
        if literal is not None:
            return str(literal)
        if name not in columns:
            raise TaskError(
                f"{where}: the template asks for {{{name}}}, which is no"
                f" column{nearest(name, columns)}"
            )
        return said(columns[name], name, where)

    return FIELD.sub(value, template)


def _asked(spec: TaskSpec, columns: Mapping[str, Any], user: Any) -> Any:
    """What a row asks, without the words of the template: two templates must not make two questions
    of one.
    """
    names = [name for _, name in FIELD.findall(spec.prompt or "") if name]
    return (
        " ".join(said(columns[name], name, "") for name in names)
        if names and isinstance(user, str)
        else user
    )


def _fields(spec: TaskSpec) -> set[str]:
    """The columns that the prompt template asks for."""
    return {
        name
        for _, name in FIELD.findall(spec.prompt if spec.prompt is not None else "{question}")
        if name
    }


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
    check_gold(columns, gold, where)


def check_gold(columns: Mapping[str, Any], names: set[str], where: str) -> None:
    """Raise TaskError when one of the named columns of a row is missing or blank."""
    for name in sorted(names):
        refuse_gold(columns.get(name), name, where)


def _prompt(
    spec: TaskSpec, user: str | list[Message], columns: Mapping[str, Any], where: str
) -> Prompt:
    """Chat messages, or with ``chat: false`` one text; with a prefill it ends in the beginning of
    the answer.
    """
    asked = _fields(spec)
    refuse_media(columns, asked, spec.columns, where)
    own = system_text(columns, asked, where)
    if own is not None and spec.system is not None:
        raise TaskError(
            f"{where}: the row has a system prompt of its own, and the task another; drop the"
            " task's `system`, or write `columns: {my_system: system}` for the row's"
        )
    system = spec.system if own is None else own
    if not spec.chat:
        if not isinstance(user, str):
            raise TaskError(
                f"{where}: prompt is a list of messages, expected a text because of `chat: false`"
            )
        return _plain(spec, user, system)
    given = [] if isinstance(user, str) else user
    if system is not None and any(message["role"] == "system" for message in given):
        raise TaskError(
            f"{where}: the prompt has a system message, and so has the {'row' if own else 'task'};"
            " keep one"
        )
    messages: list[Message] = [{"role": "system", "content": system}] if system is not None else []
    first = list(takewhile(lambda message: message["role"] in ("system", "developer"), given))
    messages += first  # examples stand between the instructions of a conversation and its turns
    for example in spec.few_shot:
        messages += [
            {"role": "user", "content": example.user},
            {"role": "assistant", "content": example.assistant},
        ]
    messages += given[len(first) :] or [{"role": "user", "content": user}]
    messages += [{"role": "assistant", "content": spec.prefill}] if spec.prefill is not None else []
    return Conversation(messages, **template_options(columns, asked, where))


def _plain(spec: TaskSpec, user: str, system: str | None) -> str:
    """System, examples, prompt and prefill one after the other, as written: blanks and line breaks
    are theirs.
    """
    shots = [example.user + example.assistant for example in spec.few_shot]
    return "".join([system or "", *shots, user, spec.prefill or ""])


def rule_name(spec: TaskSpec) -> str:
    """The rule that makes two rows the same question: their text, or for gcd(a, b) = gcd(b, a)
    their numbers in order.
    """
    return str(
        spec.canonical or ("unordered_numbers" if spec.reasoning_gym in UNORDERED else "text")
    )


def _canonical(spec: TaskSpec, base_dir: Path | None) -> Callable[[Mapping[str, Any]], str] | None:
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
    return find_function(name, base_dir, "canonical")


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
    calls = message.get("tool_calls")
    called = json.dumps(calls, sort_keys=True, default=str) if calls else ""
    return content_text(message.get("content")) + called


def unordered_numbers(prompt: Any) -> str:
    """A question as its words and its numbers in order of size, for questions whose numbers may
    change places.
    """
    words = text(prompt)
    numbers = sorted(NUMBER.findall(words), key=lambda number: (float(number), number))
    return f"{NUMBER.sub('#', words)} | {' '.join(numbers)}"


BUILT_IN: dict[str, Callable[[Any], str]] = {"text": text, "unordered_numbers": unordered_numbers}
