"""The token ids of a conversation: what was sampled stands as it was, and only new messages are
rendered, behind it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from llmpolicy.errors import PolicyError
from llmpolicy.messages import Conversation, Message, content_text, read_messages
from llmpolicy.policies.causal_lm.codec import Codec
from llmpolicy.policies.causal_lm.message_forms import forms, is_in, letters
from llmpolicy.policies.causal_lm.tool_calls import Tool

_ASKED = "interlocutor"


def opening(
    codec: Codec,
    messages: str | Sequence[Message],
    tools: Sequence[Tool] = (),
    where: str = "the conversation",
) -> list[int]:
    """The ids of a conversation's first state, which the model's first turn follows on.

    A text is read as it is; PolicyError in one sentence for messages that the template refuses.
    """
    if isinstance(messages, str):
        return codec.prompt(messages, where)
    options = {**getattr(messages, "options", {}), **({"tools": list(tools)} if tools else {})}
    return codec.prompt(Conversation(map(dict, messages), **options), where)


def following(
    codec: Codec,
    held: Sequence[int],
    new_messages: str | Sequence[Message],
    tools: Sequence[Tool] = (),
    ended: bool = True,
    where: str = "the conversation",
) -> list[int]:
    """The ids that new messages put behind those ``held``, up to where the model's next turn
    begins.

    ``held`` ends in a turn of the model's, with its stop token if ``ended``. That one is the first
    token of the end of turn, also where the template has another in its place (``<|return|>`` for
    ``<|end|>``); where the template ends no turn, and begins the next message with a stop token, it
    counts as that token if it is the same. A turn that was cut gets the whole end of turn. A text
    is appended exactly as it is written.
    """
    if isinstance(new_messages, str):
        _check_characters(new_messages, where)
        return codec.behind(new_messages)
    try:
        messages = codec.template.fitted(read_messages(new_messages))
    except ValueError as error:
        raise PolicyError(f"{where}: {error}") from error
    for message in messages:
        _check_characters(content_text(message["content"]), where)
    seam = _seam(codec, messages, tools, where)
    if ended and (seam.ends or list(held[-1:]) == seam.ids[:1]):
        return seam.ids[1:]
    return seam.ids


@dataclass(frozen=True, slots=True)
class _Seam:
    """The ids behind a turn of the assistant's; ``ends``: the first is what ends the turn."""

    ids: list[int]
    ends: bool


def _seam(codec: Codec, messages: list[Message], tools: Sequence[Tool], where: str) -> _Seam:
    mark = _mark(messages)
    failure: Exception | None = None
    for talk in _talks(messages, mark):
        try:
            behind = _behind(codec, [*talk, *messages], tools, mark, add_generation_prompt=True)
            alone = _behind(codec, talk, tools, mark)
        except Exception as error:  # noqa: BLE001 - a template is a program of somebody else's and may raise anything
            failure = failure or error
            continue
        if behind is None or alone is None:
            continue
        _check_shown(messages, behind, where)
        return _cut(codec, alone, behind)
    words = "it leaves out what the assistant says" if failure is None else reason(failure)
    roles = ", ".join(str(message["role"]) for message in messages)
    raise PolicyError(
        f"{where}: the chat template refuses new messages ({roles}) behind a turn of the"
        f" assistant's ({words})"
    ) from failure


def _cut(codec: Codec, alone: str, behind: str) -> _Seam:
    """What stands behind an assistant's turn, from its end on; before that its calls are closed."""
    last, more = codec.behind(alone), codec.behind(behind)
    closing = list(takewhile(lambda token: token not in codec.stop_ids, last))
    if len(closing) < len(last) and more[: len(closing)] == closing:
        return _Seam(more[len(closing) :], ends=True)
    common = sum(
        1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(last, more, strict=False))
    )
    return _Seam(more[common:], ends=False)


def _talks(messages: Sequence[Message], mark: str) -> Iterator[list[Message]]:
    """Conversations that messages may follow on: with the calls that they answer, with one, with
    none.
    """
    asked: Message = {"role": "user", "content": _ASKED}
    names = [
        str(message.get("name") or _ASKED)
        for message in takewhile(lambda message: message["role"] == "tool", messages)
    ]
    for called in (names, names[:1])[: len(names)]:
        calls = [_call(name, mark) for name in called]
        turn: Message = {"role": "assistant", "content": "", "tool_calls": calls}
        yield from forms([asked, turn])
    yield [asked, {"role": "assistant", "content": mark}]


def _call(name: str, mark: str) -> Message:
    return {"type": "function", "function": {"name": name, "arguments": {"value": mark}}}


def _behind(
    codec: Codec, talk: list[Message], tools: Sequence[Tool], mark: str, **how: bool
) -> str | None:
    """What the template writes behind the assistant's words; None where it does not show them."""
    template = codec.template
    options = {**template.arguments, **({"tools": list(tools)} if tools else {})}
    text = template.render(template.fitted(talk[:2]) + talk[2:], options, **how)
    before, shown, behind = text.rpartition(mark)
    return behind if shown else None


def _mark(messages: Sequence[Message]) -> str:
    """A word that stands in none of the messages."""
    text, mark = str(messages), "llmpolicy"
    while mark in text:
        mark += "x"
    return mark


def _check_shown(messages: Sequence[Message], text: str, where: str) -> None:
    seen = letters(text)
    for index, message in enumerate(messages):
        if not is_in(message, text, seen):
            raise PolicyError(
                f"{where}: the chat template leaves out new message {index} ({message['role']})"
            )


def _check_characters(text: str, where: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise PolicyError(
            f"{where}: {text[: error.end]!r:.60} ends in half of a surrogate pair; expected a text"
        ) from error


def reason(error: Exception) -> str:
    """The first line of what an error says, or its kind."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
