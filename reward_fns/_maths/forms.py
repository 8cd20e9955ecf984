"""Are two answers the same? Shapes are compared part by part, strictly; leaves that are no numbers
by `algebra`.

A number must be worked out, an equation solved where the gold answer is; units and brackets count.
"""

import re
from dataclasses import replace
from fractions import Fraction
from functools import partial

from . import algebra
from .algebra import Expression
from .chains import coordinates, named, read_expression, same_value, value_of
from .expression import Unreadable
from .numbers import Quantity, agree
from .real_sets import real_set, same_set
from .shapes import MAX_ANSWER, VARIABLE, Form, read
from .units import units_agree

__all__ = ["MAX_ANSWER", "Form", "GoldUnreadable", "read", "same", "value_of"]

_INDIAN = re.compile(r"-?\d{1,2}(?:,\d{2})+,\d{3}", re.ASCII)
_FLIPPED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}
_INTEGERS = ("\\mathbb{Z}", "Z")


class GoldUnreadable(ValueError):
    """The gold answer is an expression that cannot be read."""


def same(gold: Form, answer: Form, units: str = "strict") -> bool:
    """Whether two forms are the same answer; raises GoldUnreadable when only the gold prevents a
    verdict.
    """
    gold, answer = _unassigned(*_unqualified(gold, answer))
    if gold.kind == "approximate" != answer.kind:
        gold = gold.parts[0]
    if gold.number and answer.kind == "list" and _INDIAN.fullmatch(answer.text):
        answer = Form(
            "number", answer.text, number=Quantity(Fraction(answer.text.replace(",", "")))
        )
    if gold.kind == "expression" and answer.kind in ("number", "expression"):
        if gold.text == answer.text and gold.mark == answer.mark:
            return True
        return _same_expression(gold, answer, units)
    if (gold.kind, gold.text, gold.mark) == (answer.kind, answer.text, answer.mark):
        return True
    if gold.number and answer.number:
        return agree(gold.number, answer.number, units)
    return _same_shape(gold, answer, units) or _same_set(gold, answer, units)


def _same_shape(gold: Form, answer: Form, units: str) -> bool:
    kinds = {gold.kind, answer.kind}
    if len(kinds) == 1 and gold.kind in ("range", "words", "literal", "congruence"):
        marks = units == "ignore" or units_agree(gold.mark, answer.mark)
        return gold.text.casefold() == answer.text.casefold() and marks
    if kinds <= {"list", "set"} or (len(kinds) == 1 and gold.kind in ("union", "cases")):
        return _same_collection(gold, answer, units)
    if kinds == {"relation"}:
        turned = _same_relation(gold, answer, units) or _same_relation(
            gold, _flipped(answer), units
        )
        return turned or _same_curve(gold, answer)
    if len(kinds) == 1 and gold.kind in ("group", "matrix", "approximate", "without"):
        return gold.mark == answer.mark and _same_parts(gold.parts, answer.parts, units)
    if kinds & {"group", "matrix"}:
        expected, parts = coordinates(gold), coordinates(answer)
        return expected is not None and parts is not None and _same_parts(expected, parts, units)
    return False


def _unqualified(gold: Form, answer: Form) -> tuple[Form, Form]:
    """``12k+7, k \\in \\mathbb{Z}`` against ``12k+7``: the parameter's range is dropped when only
    one side has it.

    When both have one, the answer's parameter gets the name of the gold one's.
    """
    (plain, name), (plain_answer, name_answer) = _without_integer(gold), _without_integer(answer)
    if bool(name) != bool(name_answer):
        return plain, plain_answer
    if name == name_answer:
        return gold, answer
    return plain, _renamed(plain_answer, name_answer, name)


def _without_integer(form: Form) -> tuple[Form, str]:
    """A form without the range of its whole parameter, and the parameter's name, "" for none."""
    if form.kind != "list" or form.parts[-1].kind != "relation" or form.parts[-1].mark != "\\in":
        return form, ""
    name, integers = form.parts[-1].parts
    if integers.text not in _INTEGERS or len(name.text) != 1:
        return form, ""
    rest, letter = form.parts[:-1], _letter(name.text)
    for part in rest:
        if part.mark not in ("", "=") or not re.search(letter, part.text):
            return form, ""
    if len(rest) == 1:
        return rest[0], name.text
    return Form("list", form.text.rpartition(",")[0], rest, form.mark), name.text


def _renamed(form: Form, old: str, new: str) -> Form:
    parts = tuple(_renamed(part, old, new) for part in form.parts)
    return replace(form, text=re.sub(_letter(old), new, form.text), parts=parts)


def _letter(name: str) -> str:
    """Where a letter is a variable, and no part of a command."""
    letter = re.escape(name)
    return rf"(?<![A-Za-z\\]){letter}(?![A-Za-z])|(?<=\d){letter}|(?<=\\pi){letter}"


def _unassigned(gold: Form, answer: Form) -> tuple[Form, Form]:
    """``x = 5`` against ``5``: the name is dropped when only one side has one."""
    if gold.kind != "relation":
        return gold, value_of(answer)
    if answer.kind != "relation":
        return value_of(gold, gold=True), answer
    return gold, answer


def _same_parts(gold: tuple[Form, ...], answer: tuple[Form, ...], units: str) -> bool:
    if len(gold) != len(answer):
        return False
    pairs = zip(gold, answer, strict=True)
    return all(same(expected, part, units) for expected, part in pairs)


def _same_collection(gold: Form, answer: Form, units: str) -> bool:
    """The same parts in any order; in the order of the names when the gold answer alone has
    names.
    """
    if len(gold.parts) != len(answer.parts):
        return False
    if gold.mark == "mixed" and not all(part.mark for part in answer.parts):
        return False
    if named(gold) and all(part.kind != "relation" for part in answer.parts):
        return _same_parts(gold.parts, answer.parts, units)
    left = list(answer.parts)
    for expected in gold.parts:
        match = next((part for part in left if same(expected, part, units)), None)
        if match is None:
            return False
        left.remove(match)
    return True


def _same_relation(gold: Form, answer: Form, units: str) -> bool:
    return gold.mark == answer.mark and _same_parts(gold.parts, answer.parts, units)


def _flipped(form: Form) -> Form:
    operators = [_FLIPPED.get(sign, sign) for sign in reversed(form.mark.split())]
    return Form("relation", form.text, form.parts[::-1], " ".join(operators))


def _same_curve(gold: Form, answer: Form) -> bool:
    """Whether two equations, or inequalities, in several variables differ by a constant factor
    alone.

    One in a single variable that is solved already, as ``x = 5``, must be solved in the answer too.
    """
    if len(gold.parts) != 2 or len(answer.parts) != 2 or gold.mark not in ("=", *_FLIPPED):
        return False
    if _FLIPPED.get(gold.mark, "=") == answer.mark:
        answer = _flipped(answer)
    difference, answered = _sides(gold), _sides(answer)
    if gold.mark != answer.mark or difference is None or answered is None:
        return False
    solved = gold.mark != "=" or any(VARIABLE.fullmatch(part.text) for part in gold.parts)
    if not difference.variables or (solved and len(difference.variables) < 2):
        return False
    try:
        return algebra.proportional(difference, answered, signed=gold.mark != "=")
    except Unreadable:
        return False


def _sides(form: Form) -> Expression | None:
    """The left side of a relation minus its right side."""
    if not {part.kind for part in form.parts} <= {"number", "expression", "range"}:
        return None
    left, right = map(read_expression, form.parts)
    return Expression(("-", left.tree, right.tree)) if left and right else None


def _same_set(gold: Form, answer: Form, units: str) -> bool:
    """Whether both describe the same real numbers, as ``0 < x < 5`` and ``(0, 5)`` do."""
    if not (_is_set(gold) and _is_set(answer)) or (
        gold.kind == answer.kind and gold.kind in ("group", "set", "literal")
    ):
        return False
    expected = real_set(gold)
    described = expected and real_set(answer)
    if expected is None or described is None:
        return False
    return same_set(expected, described, partial(same, units=units))


def _is_set(form: Form) -> bool:
    if form.kind == "relation":
        return bool(set(form.mark.split()) & {*_FLIPPED, "\\in", "\\ne"})
    if form.kind == "list":
        return any(map(_is_set, form.parts)) and all(part.kind == "relation" for part in form.parts)
    return form.kind in ("group", "set", "union", "without") or form.text == "\\mathbb{R}"


def _same_expression(gold: Form, answer: Form, units: str) -> bool:
    if units != "ignore" and not units_agree(gold.mark, answer.mark):
        return False
    expected = read_expression(gold)
    try:
        if expected is not None:
            return same_value(expected, _engineering(expected, read_expression(answer)))
    except Unreadable:
        pass
    raise GoldUnreadable(f"the gold answer {gold.text[:80]!r} cannot be read")


def _engineering(gold: Expression, answer: Expression | None) -> Expression | None:
    """An answer whose imaginary unit is j, read with the i of the gold answer."""
    if (
        answer is None
        or not gold.imaginary
        or answer.imaginary
        or "j" in gold.variables
        or "j" not in answer.variables
    ):
        return answer
    return answer.with_unit("j")
