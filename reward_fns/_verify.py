"""math-verify, behind caps, for expressions outside the small grammar of `_algebra`: binomials, factorials, floors.

It reads the expression; the value is taken here, as in `_algebra`, with every step measured. Its own comparison ends in
SymPy's simplify, which took more than ten seconds on `(x+2)^{-x}` against a binomial, and its time limit is an alarm
that works in the main thread alone.
"""

import logging
import re
import threading
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from ._algebra import Unreadable, applied, at_each_point, raised, variable

MAX_CHARS = 40
MAX_NESTING = 3

_COMMANDS = "frac|sqrt|pi|cdot|times|[dt]?binom|[lr]floor|[lr]ceil|log|ln|sin|cos|tan|exp|alpha|beta|theta|phi|lambda"
_TOKEN = re.compile(
    rf"\\(?:{_COMMANDS})(?![A-Za-z])|(?P<open>[({{])|(?P<close>[)}}])|(?P<number>\d+)|[A-Za-z](?![A-Za-z]{{2}})|[-+*/^|!\s]",
    re.ASCII,
)
_MAX_DIGITS = 3
_MAX_ARGUMENT = 1_000
_one_at_a_time = threading.Lock()


@lru_cache(maxsize=1024)
def values(text: str) -> tuple[Any, ...] | None:
    """The expression at each point of `_algebra`, None where it has no value; None when it cannot be read at all."""
    if not within_caps(text):
        return None
    try:
        tree = _tree(text)
        return at_each_point(lambda point, context: _evaluate(tree, point, context))
    except Unreadable:
        return None


def within_caps(text: str) -> bool:
    """Whether an expression is small and plain enough to be handed on."""
    if len(text) > MAX_CHARS or text.count("!") + text.count("binom") > 3:
        return False
    position = depth = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None or len(token["number"] or "") > _MAX_DIGITS:
            return False
        depth += bool(token["open"]) - bool(token["close"])
        position = token.end()
        if not 0 <= depth <= MAX_NESTING:
            return False
    return depth == 0 and not re.search(r"\^[^^]*\^|!\s*!|[)}]\s*!|\d{3,}\s*!", text)


def _tree(text: str) -> Any:
    from math_verify import LatexExtractionConfig, parse

    # That no timeout is set is no news: the caps stand in for it.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    with _one_at_a_time:
        found = parse(f"${text}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None)
    if not found or not hasattr(found[0], "args"):
        raise Unreadable(f"math-verify cannot read {text!r}")
    return found[0]


def _evaluate(node: Any, point: int, context: Any) -> Any:
    kind = type(node).__name__
    if getattr(node, "is_Rational", False):
        return context.mpf(int(node.p)) / int(node.q)
    if kind in ("Pi", "Exp1", "ImaginaryUnit"):
        return {"Pi": +context.pi, "Exp1": +context.e, "ImaginaryUnit": context.mpc(0, 1)}[kind]
    if getattr(node, "is_Symbol", False):
        return variable(node.name, point, context)
    parts = [_evaluate(part, point, context) for part in node.args]
    if kind in ("Add", "Mul"):
        return context.fsum(parts) if kind == "Add" else context.fprod(parts)
    if kind == "Pow":
        return raised(parts[0], parts[1], context)
    if kind == "log" and len(parts) == 2:
        return applied("ln", parts[0], context) / applied("ln", parts[1], context)
    if kind in ("sin", "cos", "tan", "exp", "log"):
        return applied("ln" if kind == "log" else kind, parts[0], context)
    return _whole(kind, parts, context)


def _whole(kind: str, parts: list[Any], context: Any) -> Any:
    known: dict[str, Callable[..., Any]] = {
        "Abs": abs,
        "factorial": context.factorial,
        "binomial": context.binomial,
        "floor": context.floor,
        "ceiling": context.ceil,
        "UnevaluatedExpr": lambda value: value,
    }
    if kind not in known or any(abs(part) > _MAX_ARGUMENT for part in parts):
        raise Unreadable(f"{kind} is not evaluated here")
    return known[kind](*parts)
