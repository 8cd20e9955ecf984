"""One ask of an instance of a user's class, in its own process: the method called, what it returned
read, what it raised told.
"""

import contextlib
import inspect
import json
import math
import numbers
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmpolicy.bounded import MOST_CHARACTERS
from llmpolicy.environments.asks import Told, What
from llmpolicy.environments.conversation import Answer, Done, Reply, ToolCall
from llmpolicy.environments.offered import NAMED, Tool, tools
from llmpolicy.errors import nearest
from llmpolicy.messages import is_messages, plain, read_messages
from llmpolicy.rewards.verdict import told

_MESSAGE = 500
"""Most characters of an exception's message that a model reads."""


class Misread(Exception):
    """A method returned what cannot be read; the message is a clause."""


class Player:
    """An instance of a user's class, made when it is first needed, and functions beside it."""

    def __init__(self, make: Callable[[], Any] | None, functions: Sequence[Tool]) -> None:
        self.make, self.functions = make, functions
        self.instance: Any = None
        self.tools: dict[str, Tool] = {}
        self.loop: Any = None

    def begin(self) -> None:
        """Make the instance; what that raises is the user's."""
        with _one_process():
            self.instance = self.waited(self.make()) if self.make is not None else None
            self.tools = tools(self.instance, self.functions)

    def waited(self, returned: Any) -> Any:
        """What a method returned, or, where it is async, what it comes to; on one loop for good."""
        if not inspect.isawaitable(returned):
            return returned
        import asyncio

        if self.loop is None:
            self.loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self.loop)

        async def wait() -> Any:
            return await returned

        return self.loop.run_until_complete(wait())

    def answer(self, what: What, given: Mapping[str, Any]) -> Told:
        """What came of one ask; nothing is raised."""
        started = time.perf_counter()
        with _one_process():
            answer = self._answer(what, given)
        return replace(answer, seconds=time.perf_counter() - started)

    def _answer(self, what: What, given: Mapping[str, Any]) -> Told:
        name, function = self._asked(what, given)
        try:
            if "seed" in given:
                seed_all(given["seed"])
            if self.instance is None and what == "reset":  # functions alone have none
                return Told()
            if function is None:
                raise Misread("is not there")
            if "said" in given and (hear := getattr(self.instance, "_hear", None)):
                hear(given["said"]["turn"], _reply(given["said"]))
            returned = self.waited(_called(function, what, given))
            return _READ[what](returned)
        except Misread as error:
            return Told(why=f"{name} {error}", fault="error")
        except BaseException as error:  # noqa: BLE001 - SystemExit too: it is told, not followed
            return _failure(what, name, function, error)

    def _asked(self, what: What, given: Mapping[str, Any]) -> tuple[str, Tool | None]:
        if what == "tool":
            return given["name"], self.tools.get(given["name"])
        method = "get_reward" if what == "reward" else what
        return f"{type(self.instance).__name__}.{method}", getattr(self.instance, method, None)


@contextlib.contextmanager
def _one_process() -> Iterator[None]:
    """End a fork of the user's that comes back from a call: it would answer beside its parent."""
    process = os.getpid()
    try:
        yield
    finally:
        if os.getpid() != process:
            os._exit(1)


def raised(error: BaseException, function: Callable[..., Any] | None) -> str:
    """What an exception was, and where in the user's file, or deeper, it arose."""
    clause = told(error, function or raised)
    here, _, rest = clause.partition(") ")
    return rest if here.startswith(f"({os.path.basename(__file__)}:") else clause


def seed_all(seed: int) -> None:
    """Let what a class draws from global generators follow from the seed alone."""
    random.seed(seed)
    for name, most in (("numpy", 2**32), ("torch", 2**63)):
        if library := sys.modules.get(name):
            generator = library.random if name == "numpy" else library
            (generator.seed if name == "numpy" else generator.manual_seed)(seed % most)


def _reply(given: Mapping[str, Any]) -> Reply:
    calls = [ToolCall(**call) for call in given.get("calls", ())]
    return Reply(given["text"], calls, given.get("token_ids", ()))


def _called(function: Tool, what: What, given: Mapping[str, Any]) -> Any:
    if what == "step":
        return function(_reply(given))
    if what == "tool":
        return function(**given["arguments"])
    return function(**_row(function, given)) if what == "reset" else function()


def _row(reset: Tool, given: Mapping[str, Any]) -> dict[str, Any]:
    """What reset asks for by name, of the row's columns first; all of these for ``**row``."""
    columns = dict(given.get("columns", {}))
    offered = {key: given[key] for key in ("seed", "group") if key in given} | columns
    chosen: dict[str, Any] = {}
    for parameter in inspect.signature(reset).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            chosen = columns | chosen
        elif parameter.name in offered:
            chosen[parameter.name] = offered[parameter.name]
        elif parameter.default is parameter.empty and parameter.kind in NAMED:
            raise Misread(f"asks for {parameter.name!r}{nearest(parameter.name, offered)}")
    return chosen


def _failure(what: What, name: str, function: Tool | None, error: BaseException) -> Told:
    why = f"{name} {raised(error, function)}"
    if what != "tool" or not isinstance(error, Exception):
        return Told(why=why, fault="error")
    try:
        message = _text(str(error))[:_MESSAGE]
    except Exception:  # noqa: BLE001 - an exception of the user's that cannot be printed
        message = ""
    if not message or isinstance(error, KeyError):
        message = f"{type(error).__name__}: {message}".rstrip(": ")
    return Told(f"error: {message}", why=why, misused=True)


def _of_reset(returned: Any) -> Told:
    if returned is None:
        return Told()
    return Told(_words(returned, "a text, messages or None"))


def _of_step(returned: Any) -> Told:
    if returned is None:
        return Told(over=True)
    if isinstance(returned, Done):
        return _ended(returned)
    expected = "a text, messages, Answer, Done or None"
    if isinstance(returned, Answer):
        return Told(_words(returned.content, expected), _number(returned.reward))
    return Told(_words(returned, expected))


def _of_tool(returned: Any) -> Told:
    if isinstance(returned, Done):
        return _ended(returned)
    reward = None
    if isinstance(returned, Answer):
        returned, reward = returned.content, _number(returned.reward)
    return Told(_text(_written(returned)), reward)


def _of_reward(returned: Any) -> Told:
    return Told() if returned is None else Told(reward=_number(returned))


_READ: Mapping[What, Callable[[Any], Told]] = {
    "reset": _of_reset,
    "step": _of_step,
    "tool": _of_tool,
    "reward": _of_reward,
}


def _ended(done: Done) -> Told:
    reward = None if done.reward is None else _number(done.reward)
    return Told(reward=reward, over=True, why=_text(str(done.why)))


def _words(value: Any, expected: str) -> Any:
    if isinstance(value, str):
        return _text(value)
    if not is_messages(value):
        raise Misread(f"returned {_shown(value)}; expected {expected}")
    try:
        messages = plain(read_messages(value))
        return json.loads(_text(json.dumps(messages, ensure_ascii=False)))
    except (ValueError, TypeError, RecursionError) as error:
        raise Misread(f"returned messages of which {error}") from error


def _written(value: Any) -> str:
    """A tool's result as a text."""
    if isinstance(value, str):
        return str(value)
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return str(value)


def _text(text: str) -> str:
    """A text of whole characters, of a size that crosses."""
    if len(text) > MOST_CHARACTERS:
        raise Misread(f"returned {len(text):,} characters; expected at most {MOST_CHARACTERS:,}")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _number(value: Any) -> float:
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    if not isinstance(value, numbers.Real):
        raise Misread(f"returned the reward {_shown(value)}; expected a number")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Misread(f"returned the reward {number}; expected a finite number")
    return number


def _shown(value: Any) -> str:
    """A value in a sentence, by its kind."""
    kind = type(value).__name__
    article = "an" if kind[0].lower() in "aeiou" else "a"
    try:
        shown = repr(value)[:80] if isinstance(value, int | float | list | tuple | dict) else ""
    except Exception:  # noqa: BLE001 - of a class of the user's
        shown = ""
    return f"{article} {kind} {shown}".rstrip()
