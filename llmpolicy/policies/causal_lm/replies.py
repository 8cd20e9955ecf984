"""Replies to learn: what stands behind the text that a generation goes on from, as the chat
template writes it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from os.path import commonprefix
from typing import Any

from llmpolicy.errors import PolicyError
from llmpolicy.messages import Message, Reply, content_text, read_messages, thought
from llmpolicy.policies.causal_lm.message_forms import (
    as_object,
    called,
    forms,
    function_of,
    holds_all,
    letters,
)
from llmpolicy.policies.causal_lm.template import OPENED, THOUGHT, Template

_TAG = re.compile(r"(?:<|\[)/?(?:\w+:)?think(?:ing)?(?:>|\])", re.IGNORECASE)
_CLOSED = re.compile(r"\s*[<\[]\W*(\w+)[^<>\[\]]*[>\]]\s*(?:\w+\s*)?[<\[]\W*\1\W*[>\]]\s*")
"""A block of thinking that is empty: ``<think>\n\n</think>\n\n``,
``<|channel>thought\n<channel|>``.
"""


def continuation(
    template: Template, prompt: Sequence[Message], reply: Reply, where: str
) -> tuple[str, str]:
    """The text that a generation goes on from, and what the reply is behind it, its end of turn
    included.

    Raises PolicyError in one sentence where the chat template leaves out what the reply holds, or
    begins it elsewhere.
    """
    opened = template.text(prompt, where)
    answer: Message = {"role": "assistant", "content": reply}
    if not isinstance(reply, str):
        answer = dict(reply)
    asked, begun = read_messages(prompt), Message()
    if asked[-1]["role"] == "assistant" and not asked[-1].get("tool_calls"):
        begun = asked.pop()
    prefill = content_text(begun.get("content"))
    words = prefill + content_text(answer["content"])
    talk = template.fitted([*asked, {**begun, **answer, "content": words}])
    options = {**template.arguments, **getattr(prompt, "options", {})}
    for text in _texts(template, talk, options):
        if text.startswith(opened) and _holds(text[len(opened) :], answer):
            template.say_marks(text[len(opened) :])
            return opened, text[len(opened) :]
    if around := template.around([*talk[:-1], {"role": "assistant", "content": ""}], options):
        behind = _words(opened, answer, prefill, around[0])
        if behind is not None and _holds(behind, answer):
            template.say_marks(behind)
            return opened, behind + around[1]
    raise PolicyError(f"{where}: {_reason(template, talk, options, opened, answer)}")


def _texts(template: Template, talk: list[Message], options: Mapping[str, Any]) -> Iterator[str]:
    """What the template makes of each form of the messages; of those that it refuses, nothing."""
    for form in forms(talk):
        try:
            yield template.render(form, options)
        except Exception:  # noqa: BLE001 - a template is a program of somebody else's and may raise anything
            continue


def _words(opened: str, reply: Message, prefill: str, before: str) -> str | None:
    """The reply as it goes on from what a generation begins with, where the template alone does not
    write it so.

    None where nothing tells how: a generation begins inside of thinking and the reply has none,
    say.
    """
    content, thinking = content_text(reply["content"]), thought(reply)
    opens = OPENED.search(opened)
    if reply.get("tool_calls") or (thinking and not opens):
        return None
    if opens:
        return _into_thinking(opens.group(), content, thinking)
    tag = THOUGHT.match(content)
    if tag and "/" not in tag.group():  # which the template cuts out of what was said
        return None if _closes(opened) else content
    empty = opened.startswith(before) and _CLOSED.fullmatch(opened[len(before) :])
    return content if empty or (prefill and opened.endswith(prefill)) else None


def _into_thinking(tag: str, content: str, thinking: str) -> str | None:
    """What follows on a tag of thinking, with its blanks, that is open already."""
    close = tag.strip().replace("<", "</").replace("[", "[/")
    lead = "" if tag.endswith("\n") else "\n"
    if thinking:
        return f"{lead}{thinking.strip()}\n{close}\n\n{content.lstrip()}"
    begun = THOUGHT.match(content)
    if begun and "/" not in begun.group() and close in content:
        inside = content[begun.end() :]
        return inside if lead else inside.removeprefix("\n")
    return content if close in content else None


def _closes(opened: str) -> bool:
    """Whether a text ends in the end of thinking."""
    *_, last = [None, *_TAG.finditer(opened)]
    return last is not None and "/" in last.group() and not opened[last.end() :].strip()


def _holds(text: str, reply: Message) -> bool:
    """Whether a text has all that a reply holds: thinking, then content, letter by letter, and its
    tool calls.
    """
    return not _lost(text, reply)


def _lost(text: str, reply: Message) -> str:
    """What of a reply is not in a text, in words; empty where all is."""
    seen, bare = letters(text), "".join(text.split())
    end = seen.find(letters(thought(reply)))
    if end < 0:
        return "the thinking"
    end += len(letters(thought(reply)))
    for part in _TAG.split(content_text(reply["content"])):
        start = seen.find(letters(part), end)
        if start < 0 or (not letters(part) and "".join(part.split()) not in bare):
            return "words"
        end = start + len(letters(part))
    values = map(letters, chain.from_iterable(map(_leaves, reply.get("tool_calls") or ())))
    if not holds_all(text, called([reply])) or not holds_all(seen, values):
        return "the tool calls"
    return ""


def _leaves(call: Any) -> Iterator[str]:
    """The names and values of a tool call's arguments; without those that templates may write in
    another way.
    """
    waiting = [as_object(function_of(call).get("arguments"))]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple):
            waiting += value
        elif isinstance(value, str | int) and str(value).isascii() and "\\" not in str(value):
            yield str(value)


def _reason(
    template: Template, talk: list[Message], options: Mapping[str, Any], opened: str, reply: Message
) -> str:
    opens, texts = OPENED.search(opened), list(_texts(template, talk, options))
    if not texts:
        return "the chat template refuses these messages with their reply"
    if opens and not thought(reply) and not _TAG.search(content_text(reply["content"])):
        tag = opens.group().strip()
        return (
            f"a generation begins inside of thinking (behind {opens.group()!r}), and the reply has"
            " none; expected reasoning_content beside its content, or"
            f" {tag}...{tag.replace('<', '</').replace('[', '[/')} before its words"
        )
    if lost := min((_lost(text, reply) for text in texts), key=len):
        return (
            f"the chat template leaves out {lost} of the reply; expected a model whose template"
            " writes them, or the reply as the text that the model should write"
        )
    common = max(len(commonprefix([text, opened])) for text in texts)
    return (
        f"a generation begins with {opened[common:]!r}, and the chat template writes this reply"
        " behind something else; expected a reply that goes on from there"
    )
