"""Our few exceptions. Each carries one sentence: where, what was found, what was expected, the
nearest valid name.
"""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class LLMPolicyError(Exception):
    """Base of all errors that are shown to the user as one sentence, without a traceback."""


class RecipeError(LLMPolicyError):
    """The recipe (or an override) cannot be run as it stands."""


class TaskError(LLMPolicyError):
    """The rows of a task cannot be used."""


class RewardError(LLMPolicyError):
    """A reward function cannot be found, called, or returned something that is not a score."""


class SandboxUnavailable(LLMPolicyError):
    """No sandbox can run a model's code on this machine; the message names each one tried and its
    remedy.
    """


class SandboxFault(LLMPolicyError):
    """The sandbox failed, not the code that ran in it: nothing is known about that code."""


class PolicyError(LLMPolicyError):
    """A model, tokenizer or adapter cannot serve as a policy."""


class RunError(LLMPolicyError):
    """The run directory cannot be created, read or resumed."""


class ConsentError(LLMPolicyError):
    """Somebody else's code would run, and the user has not said that it may."""


class PublishError(LLMPolicyError):
    """The result cannot be published as asked."""


def one_line(words: object) -> str:
    """What an error, or another object, says, in one line."""
    return " ".join(str(words).split())


@contextmanager
def called(what: str) -> Iterator[None]:
    """What a function of a user's raises is a RecipeError of one sentence that begins with
    ``what``.
    """
    try:
        yield
    except Exception as error:
        text = one_line(error)
        raise RecipeError(f"{what} failed: {type(error).__name__}: {text}") from error


def nearest(name: str, valid: Iterable[str]) -> str:
    """A clause ``; did you mean 'x'?`` with the nearest valid name, or the list of names when none
    is near.
    """
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; expected one of: {', '.join(names)}" if names else ""
