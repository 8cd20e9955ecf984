"""Does a chat template keep what was said, once more is said? Asked before a training begins."""

import copy
from collections.abc import Iterator, Sequence
from os.path import commonprefix
from typing import Any

from transformers import PreTrainedTokenizerBase

from llmpolicy.errors import PolicyError
from llmpolicy.messages import THINKING, Message, content_text
from llmpolicy.policies.causal_lm.codec import Codec
from llmpolicy.policies.causal_lm.dialogue import following, reason
from llmpolicy.policies.causal_lm.message_forms import forms, holds_all, name_of
from llmpolicy.policies.causal_lm.template import OPENED, Template
from llmpolicy.policies.causal_lm.tool_calls import Tool, plain_call

_WORDS, _THOUGHT, _HERE = "llmpolicy", "pondered", "the probe"
_USER: Message = {"role": "user", "content": "interlocutor"}
_SAID: Message = {"role": "assistant", "content": _WORDS}

_PROMPTED = "environment: tools_in: prompt, which describes the tools in words"
_KEEPING = {
    "preserve_thinking": True,
    "keep_thinking": True,
    "keep_past_thinking": True,
    "truncate_history_thinking": False,
    "clear_thinking": False,
    "enable_thinking": False,
}
"""Arguments by which templates keep what was thought, or have nothing thought."""


class _Rewrites(Exception):
    """What a template makes of a conversation is not what its pieces make; the message says how."""


def check_turns(codec: Codec, tools: Sequence[Tool] = ()) -> None:
    """Raise PolicyError in one sentence for a template in which a conversation of many turns is not
    its pieces, or which cannot show tools.
    """
    codec.check_chat()
    fault = _fault(codec, tools)
    if fault:
        choices = list(_choices(codec, tools)) or list(_choices_in_words(codec, tools))
        expected = ", or ".join(choices) or "another one: no argument or variant known here helps"
        raise PolicyError(f"the chat template {fault}; expected {expected}")


def _choices(codec: Codec, tools: Sequence[Tool]) -> Iterator[str]:
    """What a user may write to have the template, or its like, carry the conversation."""
    source = _source(codec)
    for name, value in _KEEPING.items():
        if name in source and not _fault(_with(codec, **{name: value}), tools):
            yield f"task: chat_template_kwargs: {{{name}: {str(value).lower()}}}"
    variant = training_template(codec.tokenizer)
    if variant is not None and not _fault(_with(codec, chat_template=variant), tools):
        yield (
            "environment: template: training, which takes TRL's variant of it for training and"
            " saves it with the policy"
        )


def _choices_in_words(codec: Codec, tools: Sequence[Tool]) -> Iterator[str]:
    """The same, with the tools in the prompt."""
    if tools and not _fault(codec, ()):
        yield _PROMPTED
    elif tools:
        yield from (f"{_PROMPTED}, with {choice}" for choice in _choices(codec, ()))


def training_template(tokenizer: PreTrainedTokenizerBase) -> Any:
    """TRL's variant of the tokenizer's chat template for training, or that template itself where it
    needs none; None for a template that TRL does not know.
    """
    from trl.chat_template_utils import get_training_chat_template

    try:
        variant = get_training_chat_template(tokenizer)
    except Exception:  # noqa: BLE001 - TRL renders the template, a program of somebody else's that may raise anything
        return None
    return tokenizer.chat_template if variant is None else variant


def take_training_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Give the tokenizer TRL's variant of its chat template for training, with which it is saved.

    Raises PolicyError in one sentence where there is none.
    """
    variant = training_template(tokenizer)
    if variant is None:
        raise PolicyError(
            "environment: template: training: TRL has no variant of this chat template for"
            " training; expected no such key, or the template of a model that TRL knows"
        )
    tokenizer.chat_template = variant


def _with(codec: Codec, **options: Any) -> Codec:
    changed = copy.copy(codec)
    changed.template = Template(codec.tokenizer, {**codec.template.arguments, **options})
    return changed


def _source(codec: Codec) -> str:
    return str(codec.template.arguments.get("chat_template") or codec.tokenizer.chat_template)


def _fault(codec: Codec, tools: Sequence[Tool]) -> str:
    """What is wrong with the template, as a clause; empty where nothing is."""
    try:
        if tools and not holds_all(
            _shown(codec, [_USER], tools, next_turn=True), map(name_of, tools)
        ):
            raise _Rewrites("has no place for tools: their names are not in what it writes")
        for voice in _voices(codec):
            for talk in _talks(codec, voice, tools):
                _check(codec, talk, tools)
    except _Rewrites as fault:
        return str(fault)
    return ""


def _voices(codec: Codec) -> Iterator[Message]:
    """How an assistant begins what it says: with words, and with a thought where a generation may
    think.
    """
    begun = _shown(codec, [_USER], (), next_turn=True)
    if not OPENED.search(begun):
        yield _SAID
    off = codec.template.arguments.get("enable_thinking") is False
    if not off and not begun.rstrip().endswith("</think>"):
        yield from _thinking(codec)


def _thinking(codec: Codec) -> Iterator[Message]:
    """The first form of a thought that the template shows, or in words where it knows of thoughts
    at all.
    """
    for name in THINKING:
        turn = {**_SAID, name: _THOUGHT}
        if _THOUGHT in _attempt(codec, [_USER, turn]):
            yield turn
            return
    if "</think>" in _source(codec):
        yield {**_SAID, "content": f"<think>\n{_THOUGHT}\n</think>\n\n{_WORDS}"}


def _talks(codec: Codec, turn: Message, tools: Sequence[Tool]) -> Iterator[list[Message]]:
    """Conversations of the shapes that are met: of words, then with calls of tools."""
    yield [_USER, turn, _USER, turn, _USER]
    if not tools:
        return
    single, double = (_calling(codec, turn, tools, count) for count in (1, 2))
    answer: Message = {"role": "tool", "name": name_of(tools[0]), "content": "answered"}
    yield [_USER, single, answer, turn, _USER, single, answer]
    yield [_USER, single, answer, single, answer, turn, _USER]
    if ("tool_calls" in single) == ("tool_calls" in double):  # else it shows one call a turn
        yield [_USER, double, answer, answer, turn, _USER]


def _calling(codec: Codec, turn: Message, tools: Sequence[Tool], count: int) -> Message:
    """A turn with calls, in the first form that the template shows, else as words of the turn."""
    name, values = name_of(tools[0]), [f"argued{number}" for number in range(count)]
    before = content_text(turn["content"]).removesuffix(_WORDS)
    functions = [{"name": name, "arguments": {"value": value}} for value in values]
    calls = [{"type": "function", "function": function} for function in functions]
    for form in forms([_USER, {**turn, "content": before, "tool_calls": calls}]):
        if holds_all(_attempt(codec, form, tools), values):
            return form[1]
    words = "\n".join(plain_call(name, {"value": value}) for value in values)
    return {**turn, "content": before + words}


def _check(codec: Codec, talk: list[Message], tools: Sequence[Tool]) -> None:
    """Raise where the template's ids of a conversation are not those of its pieces."""
    turns = [index for index, message in enumerate(talk) if message["role"] == "assistant"]
    ids = codec.rendered(_shown(codec, talk[: turns[0]], tools, next_turn=True))
    stops = set[int]()
    for index, after in zip(turns, [*turns[1:], len(talk)], strict=True):
        turn = list(_turn(codec, talk, index, tools))
        ids += turn
        ended = turn[-1] in codec.stop_ids
        if ended:
            stops.add(len(ids) - 1)
        try:
            ids += following(codec, ids, talk[index + 1 : after], tools, ended, _HERE)
        except PolicyError as error:
            clause = str(error).removeprefix(f"{_HERE}: the chat template ")
            raise _Rewrites(f"{clause}, in a conversation of {_roles(talk)}") from error
    whole = codec.rendered(_shown(codec, talk, tools, next_turn=True))
    _compare(codec, ids, whole, stops, talk)


def _turn(codec: Codec, talk: list[Message], index: int, tools: Sequence[Tool]) -> Iterator[int]:
    """The ids of a turn as a generation would write it, up to its stop token: the template writes
    the last turn so.
    """
    begun = _shown(codec, talk[:index], tools, next_turn=True)
    last = _shown(codec, talk[: index + 1], tools)
    if not last.startswith(begun):
        common = len(commonprefix([begun, last]))
        raise _Rewrites(
            f"rewrites what a turn follows on: {_start(begun[common:])} becomes"
            f" {_start(last[common:])} once the turn is over"
        )
    for token in codec.behind(last[len(begun) :]):
        yield token
        if token in codec.stop_ids:
            return


def _compare(
    codec: Codec, pieces: list[int], whole: list[int], stops: set[int], talk: list[Message]
) -> None:
    """Raise where ids differ, but for a stop token in another's place, and words in other
    tokens.
    """
    pairs = enumerate(zip(pieces, whole, strict=False))
    shorter = min(len(pieces), len(whole))
    index = next((at for at, (a, b) in pairs if a != b and at not in stops), shorter)
    if index == len(pieces) == len(whole) or codec.raw(pieces) == codec.raw(whole):
        return
    raise _Rewrites(
        f"rewrites what was said before: {_start(codec.raw(pieces[index:]))} becomes"
        f" {_start(codec.raw(whole[index:]))} in a conversation of {_roles(talk)}"
    )


def _shown(
    codec: Codec, talk: list[Message], tools: Sequence[Tool], *, next_turn: bool = False
) -> str:
    template = codec.template
    options = {**template.arguments, **({"tools": list(tools)} if tools else {})}
    try:
        return template.render(template.fitted(talk), options, add_generation_prompt=next_turn)
    except Exception as error:
        raise _Rewrites(f"refuses a conversation of {_roles(talk)} ({reason(error)})") from error


def _attempt(codec: Codec, talk: list[Message], tools: Sequence[Tool] = ()) -> str:
    try:
        return _shown(codec, talk, tools)
    except _Rewrites:
        return ""


def _roles(talk: Sequence[Message]) -> str:
    return ", ".join(str(message["role"]) for message in talk)


def _start(text: str) -> str:
    return repr(text[:40]) if text else "nothing"
