"""The shape of an answer: a number, a word, a list, a set, a tuple, a relation ... compared part by part.

What two answers must share is decided here, strictly; leaves that are no plain numbers are compared by `_algebra`.
"""

import re
from dataclasses import dataclass
from typing import Literal

from . import _algebra
from ._algebra import Expression
from ._expression import MAX_CHARS, Unreadable
from ._latex import bare, canonical, clean, closes_at_end
from ._numbers import CHANGES, Quantity, agree, read_quantity, read_unit, units_agree
from ._text import NoAnswer

MAX_ANSWER = 1_000
"""A longer answer (in characters) is not read."""

_MAX_DEPTH = 12
_MAX_PARTS = 100
_NEAR = 0.01

_LIST = re.compile(r"\s*(?:[,;]\s*(?:(?:and|or)\b)?|\b(?:and|or)\b)\s*")
_COMMA = re.compile(r"\s*[,;]\s*")
_UNION = re.compile(r"\s*\\cup(?![a-z])\s*")
_RELATION = re.compile(r"\s*(?:\\(?:le|ge|ne|in|approx|equiv|to|sim)(?![a-z])|[<>=])\s*")
_VARIABLE = re.compile(r"[A-Za-z](?:_\w|_\{\w+\}|')?|\\[a-z]+(?:_\w)?|[A-Za-z]'{0,2}\([a-z]\)")
_QUANTITY = re.compile(
    rf"(?:{_VARIABLE.pattern})(?:\+(?:{_VARIABLE.pattern}))*|[A-Za-z]\([A-Za-z0-9,]+\)"
    r"|\|?(?:m?\\angle|\\triangle|\\overline\{?)? ?\[?[A-Z]{1,4}\}?\]?\|?"
)
"""What a value is given to: x, x_1, m+n, f(2), P(A), AB, |AB|, an angle or area by its corners."""
_NAMES = re.compile(rf"\(\s*(?:{_VARIABLE.pattern})(?:\s*,\s*(?:{_VARIABLE.pattern}))+\s*\)")
_BASED = re.compile(r"(\d[0-9A-Fa-f]*)\s*_\s*\{?\s*(\w+)\s*\}?", re.ASCII)
_AMOUNT = r"[$\u20ac\u00a3\ue000]?\s*\d+(?:\.\d+)?\s*%?"
_RANGE = re.compile(rf"{_AMOUNT}(?:\s*-\s*{_AMOUNT})+|\d+(?:\s*/\s*\d+){{2,}}|\d+(?:\.\d+){{2,}}", re.ASCII)
"""A range, score or date: 10-12, 7-3, 2026-05-03, 12/25/2024. Its numbers are not subtracted."""
_SYMBOL = re.compile(r"[-+]?\\infty|\\mathbb\{[A-Z]\}")
_WORDS = re.compile(r"[^\W\d_]{2,}(?:[ '\u2019-]+[^\W\d_]+)*\.?")
_RATIO = re.compile(r"\d+(?:\.\d+)?(?:\s*:\s*\d+(?:\.\d+)?)+(?:\s*[ap]\.?\s?m)?", re.ASCII | re.IGNORECASE)
_BESIDE = re.compile(r"(.*?\S)\s+((?:square |cubic )?[A-Za-z]{2,}(?:\s*\^\s*\{?[23]\}?)?)")
_PROSE = re.compile(r"(?<![\\A-Za-z])(?!sqrt|sinh|cosh|tanh|arc)[A-Za-z]{4,}")

Kind = Literal[
    "number", "words", "expression", "list", "set", "group", "union", "relation", "matrix", "range", "literal"
]


@dataclass(frozen=True, slots=True)
class Form:
    """An answer taken apart: its kind, its canonical text, its parts, and brackets, operators or unit in `mark`."""

    kind: Kind
    text: str
    parts: tuple["Form", ...] = ()
    mark: str = ""
    number: Quantity | None = None


class GoldUnreadable(ValueError):
    """The gold answer is an expression that cannot be read."""


def read(text: str) -> Form:
    """The form of an answer; raises NoAnswer when there is nothing in it, or too much."""
    if len(text) > MAX_ANSWER:
        raise NoAnswer(f"an answer of {len(text)} characters; at most {MAX_ANSWER} are read")
    form = _read(clean(text), 0)
    if sum(len(leaf.text) for leaf in _leaves(form) if leaf.kind == "expression") > 2 * MAX_CHARS:
        raise NoAnswer(f"more than {2 * MAX_CHARS} characters of algebra")
    return form


def same(gold: Form, answer: Form, units: str = "strict") -> bool:
    """Whether two forms are the same answer; raises GoldUnreadable when only the gold prevents a verdict."""
    gold, answer = _unassigned(gold, answer)
    if gold.kind == "expression" and answer.kind == "number":
        return _same_expression(gold, answer, units)
    if (gold.kind, gold.text, gold.mark) == (answer.kind, answer.text, answer.mark):
        return True
    if gold.number and answer.number:
        return agree(gold.number, answer.number, units)
    if gold.kind in ("list", "set") and answer.kind in ("list", "set"):
        return _same_multiset(gold.parts, answer.parts, units)
    if gold.kind != answer.kind:
        return False
    if gold.kind == "range":
        return gold.text == answer.text and (units == "ignore" or units_agree(gold.mark, answer.mark))
    if gold.kind in ("words", "literal"):
        return gold.text.casefold() == answer.text.casefold()
    if gold.kind == "union":
        return _same_multiset(gold.parts, answer.parts, units)
    if gold.kind == "relation":
        return _same_relation(gold, answer, units) or _same_relation(gold, _flipped(answer), units)
    if gold.kind in ("group", "matrix"):
        return gold.mark == answer.mark and _same_parts(gold.parts, answer.parts, units)
    return gold.kind == "expression" and _same_expression(gold, answer, units)


def _read(text: str, depth: int) -> Form:
    if not text:
        raise NoAnswer("an empty answer")
    if depth > _MAX_DEPTH:
        raise NoAnswer(f"an answer nested more than {_MAX_DEPTH} deep")
    quantity = read_quantity(text)
    if quantity is not None:
        return Form("number", canonical(text), number=quantity, mark=quantity.unit)
    for reader in (_read_list, _read_relation, _read_matrix, _read_union, _read_brackets):
        form = reader(text, depth)
        if form is not None:
            return form
    return _read_leaf(text)


def _read_list(text: str, depth: int) -> Form | None:
    if text.count("\\pm") == 1:
        return _form("list", text, [text.replace("\\pm", sign) for sign in "+-"], depth)
    items = _split(text, _LIST)[0]
    return _form("list", text, items, depth) if len(items) > 1 else None


def _read_relation(text: str, depth: int) -> Form | None:
    sides, operators = _split(text, _RELATION)
    if not operators:
        return None
    return _form("relation", text, sides, depth, " ".join(operators))


def _read_matrix(text: str, depth: int) -> Form | None:
    matrix = re.fullmatch(r"\\begin\{([pbvBV]?)matrix\}(.*)\\end\{\1matrix\}", text, re.DOTALL)
    if matrix is None:
        return None
    rows = [row.split("&") for row in matrix[2].strip().removesuffix("\\\\").split("\\\\")]
    bars = "|" if matrix[1] in ("v", "V") else ""
    return _form("matrix", text, [cell for row in rows for cell in row], depth, f"{bars}{[len(row) for row in rows]}")


def _read_union(text: str, depth: int) -> Form | None:
    items = _split(text, _UNION)[0]
    return _form("union", text, items, depth) if len(items) > 1 else None


def _read_brackets(text: str, depth: int) -> Form | None:
    if text.startswith("\\{") and text.endswith("\\}") and closes_at_end(text[1:-2] + "}"):
        inside = text[2:-2].strip()
        return _form("set", text, _split(inside, _COMMA)[0] if inside else [], depth)
    if not (text[0] in "([" and text[-1] in ")]" and closes_at_end(text)):
        return None
    items = _split(text[1:-1], _COMMA)[0]
    mark = text[0] + text[-1]
    if len(items) == 1 and mark == "()":
        return _read(bare(items[0]), depth + 1)
    return _form("group", text, items, depth, mark)


def _read_leaf(text: str) -> Form:
    if _SYMBOL.fullmatch(canonical(text)):
        return Form("literal", canonical(text).lstrip("+"))
    if _RATIO.fullmatch(text):
        return Form(
            "literal", re.sub(r"[\s.]*([ap])[.\s]*m\Z", r"\1m", re.sub(r"\s*:\s*", ":", text), flags=re.IGNORECASE)
        )
    based = _BASED.fullmatch(text)
    if based:
        return Form("literal", f"{based[1]}_{based[2]}")
    if _WORDS.fullmatch(text):
        return Form("words", " ".join(text.split()))
    beside = _BESIDE.fullmatch(text)
    unit = read_unit(beside[2]) if beside else None
    expression = beside[1] if beside and unit else text
    if _RANGE.fullmatch(expression):
        return Form("range", re.sub(r"(?<!\d)0+(?=\d)", "", canonical(expression)), mark=unit or "")
    if _PROSE.search(expression):
        return Form("literal", canonical(text))
    return Form("expression", canonical(expression), mark=unit or "")


def _form(kind: Kind, text: str, items: list[str], depth: int, mark: str = "") -> Form:
    if len(items) > _MAX_PARTS:
        raise NoAnswer(f"an answer of {len(items)} parts; at most {_MAX_PARTS} are read")
    return Form(kind, canonical(text), tuple(_read(bare(item), depth + 1) for item in items), mark)


def _split(text: str, separator: re.Pattern[str]) -> tuple[list[str], list[str]]:
    """The parts of a text and the separators between them, outside all brackets."""
    parts, separators, start, depth, i = [], [], 0, 0, 0
    while i < len(text):
        depth += (text[i] in "([{") - (text[i] in ")]}")
        found = separator.match(text, i) if depth == 0 else None
        if found:
            parts.append(text[start:i])
            separators.append(found[0].strip())
            start = i = found.end()
        else:
            i += 1
    return [*parts, text[start:]], separators


def value_of(form: Form) -> Form:
    """What a form says: the right side of ``x = 5``, any other form as it is."""
    form = _exact(form)
    return form.parts[-1] if _assigns(form) or _worked_out(form) else form


def _leaves(form: Form) -> list[Form]:
    return [leaf for part in form.parts for leaf in _leaves(part)] if form.parts else [form]


def _unassigned(gold: Form, answer: Form) -> tuple[Form, Form]:
    """`x = 5` against `5`: the name is dropped when only one side has one."""
    if gold.kind != "relation":
        return gold, value_of(answer)
    if answer.kind != "relation":
        return value_of(gold), answer
    return gold, answer


def _assigns(form: Form) -> bool:
    if form.kind != "relation" or form.mark not in ("=", "\\in"):
        return False
    name = form.parts[0]
    named = name.kind == "words" and not any(map(CHANGES.fullmatch, name.text.split()))
    return named or bool(_QUANTITY.fullmatch(name.text) or _NAMES.fullmatch(name.text))


def _exact(form: Form) -> Form:
    """``1/6 \\approx 0.167`` without its approximation, when that is near."""
    signs = form.mark.split()
    if form.kind != "relation" or signs[-1] != "\\approx" or "\\approx" in signs[:-1] or form.parts[-1].number is None:
        return form
    exact, near = map(_expression, form.parts[-2:])
    if len(form.parts) == 2 and _VARIABLE.fullmatch(form.parts[0].text):
        return form
    if exact is None or near is None or not _algebra.near(exact, near, _NEAR):
        return form
    return Form("relation", form.text, form.parts[:-1], " ".join(signs[:-1])) if len(signs) > 1 else form.parts[0]


def _worked_out(form: Form) -> bool:
    """Whether a form is a calculation that ends in its value, every step of which is true: ``9 * 2 = 18``."""
    if (
        form.kind != "relation"
        or set(form.mark.split()) != {"="}
        or form.parts[-1].kind not in ("number", "expression")
    ):
        return False
    steps = form.parts[1:] if _VARIABLE.fullmatch(form.parts[0].text) else form.parts
    return len({step.text for step in steps}) > 1 and all(_equal_value(step, steps[-1]) for step in steps[:-1])


def _equal_value(step: Form, result: Form) -> bool:
    if step.number and result.number:
        return step.number.value == result.number.value
    try:
        return step.kind in ("expression", "range") and _same_value(_expression(result), _expression(step))
    except Unreadable:
        return False


def _same_parts(gold: tuple[Form, ...], answer: tuple[Form, ...], units: str) -> bool:
    return len(gold) == len(answer) and all(same(g, a, units) for g, a in zip(gold, answer, strict=True))


def _same_multiset(gold: tuple[Form, ...], answer: tuple[Form, ...], units: str) -> bool:
    if len(gold) != len(answer):
        return False
    left = list(answer)
    for part in gold:
        match = next((other for other in left if same(part, other, units)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _same_relation(gold: Form, answer: Form, units: str) -> bool:
    return gold.mark == answer.mark and _same_parts(gold.parts, answer.parts, units)


def _flipped(form: Form) -> Form:
    turned = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}
    operators = [turned.get(sign, sign) for sign in reversed(form.mark.split())]
    return Form("relation", form.text, form.parts[::-1], " ".join(operators))


def _same_expression(gold: Form, answer: Form, units: str) -> bool:
    if units != "ignore" and not units_agree(gold.mark, answer.mark):
        return False
    expected = _expression(gold)
    try:
        if expected is not None:
            return _same_value(expected, _expression(answer))
    except Unreadable:
        pass
    raise GoldUnreadable(f"the gold answer {gold.text[:80]!r} cannot be read")


def _same_value(expected: Expression | None, found: Expression | None) -> bool:
    return expected is not None and found is not None and _algebra.same_value(expected, found)


def _expression(form: Form) -> Expression | None:
    return _algebra.expression(form.text) if form.number is None else _algebra.plain(form.number.value)
