"""What an answer says beside its value: names before it, calculations that end in it,
approximations after it.
"""

import re

from . import algebra
from .algebra import Expression
from .expression import Unreadable
from .numbers import CHANGES
from .shapes import VARIABLE, Form

_NEAR = 0.01
_QUANTITY = re.compile(
    rf"(?:{VARIABLE.pattern})(?:[-+](?:{VARIABLE.pattern}))*|[A-Za-z](?:_\w"
    rf"|_\{{\w+\}})?\([A-Za-z0-9,]+\)"
    r"|\|?(?:m?\\angle|\\triangle|\\overline\{?)? ?\[?[A-Z]{1,4}\}?\]?\|?"
    r"|\\(?:lim|int|sum|prod|det|max|min|arg|dim|rank|deg)(?![a-z]).*|\\(?:sin|cos|tan|cot|sec"
    r"|csc)(?:\\?[A-Za-z]+|\([A-Za-z]\))"
)
"""What a value is given to: x, x_1, m+n, f(2), P(A), AB, |AB|, an angle or area by its corners, a
limit.
"""
_SCALED = re.compile(r"10+[A-Za-z]")
_NAMES = re.compile(rf"\(\s*(?:{VARIABLE.pattern})(?:\s*,\s*(?:{VARIABLE.pattern}))+\s*\)")


def value_of(form: Form, gold: bool = False) -> Form:
    """What a form says: the right side of ``x = 5``, any other form as it is.

    ``x^2 + y^2 = 25`` says 25 as an answer; as a gold answer it may be a curve.
    """
    form = _exact(form)
    asked = _assigns(form) or _worked_out(form) or (not gold and _combines(form))
    return form.parts[-1] if asked else form


def approximated(form: Form) -> Form:
    """What a form says approximately: 3.14 of ``\\approx 3.14``, 0.785 of ``\\pi/4 \\approx
    0.785``.
    """
    about = form.kind == "relation" and form.mark.split()[-1] in ("\\approx", "\\sim")
    if _assigns(form) or (about and _near_enough(form)):
        form = form.parts[-1]
    return form.parts[0] if form.kind == "approximate" else form


def _near_enough(form: Form) -> bool:
    """Whether the side before the last is a name, or has nearly the last one's value."""
    exact, near = map(read_expression, form.parts[-2:])
    if exact is None or near is None:
        return exact is None
    return bool(exact.variables) or algebra.near(exact, near, _NEAR)


def assigned(form: Form) -> str:
    """The name that a form gives a value to, "" for none."""
    return form.parts[0].text if form.mark == "=" and _assigns(form) else ""


def coordinates(form: Form) -> tuple[Form, ...] | None:
    """The components of a tuple, of a matrix of one row or column, or of ``x=1, y=2`` in the order
    of the names.
    """
    if form.kind == "group" and form.mark == "()":
        return form.parts
    if form.kind == "matrix" and form.mark in (f"[{len(form.parts)}]", str([1] * len(form.parts))):
        return form.parts
    if named(form):
        return tuple(part.parts[-1] for part in sorted(form.parts, key=assigned))
    return None


def named(form: Form) -> list[str]:
    """The names of a list of assignments to different letters, [] for any other form; x_1 and x_2
    are one letter's.
    """
    if form.kind != "list":
        return []
    names = list(map(assigned, form.parts))
    letters = {name.partition("_")[0] for name in names}
    return names if all(names) and len(letters) == len(names) else []


def read_expression(form: Form) -> Expression | None:
    """The expression that a form is, None when it is none that can be read."""
    if form.number is None:
        return algebra.expression(form.text)
    return algebra.plain(form.number.value)


def same_value(gold: Expression | None, answer: Expression | None) -> bool:
    """Whether both can be read and are equal; raises Unreadable as `algebra.same_value` does."""
    return gold is not None and answer is not None and algebra.same_value(gold, answer)


def _assigns(form: Form) -> bool:
    if form.kind != "relation" or form.mark not in ("=", "\\in"):
        return False
    name = form.parts[0]
    called = name.kind == "words" and not any(map(CHANGES.fullmatch, name.text.split()))
    return called or bool(_QUANTITY.fullmatch(name.text) or _NAMES.fullmatch(name.text))


def _combines(form: Form) -> bool:
    """Whether a form gives a value to several variables put together, as in ``xy = 12`` and
    ``100a+10b+c = 55``.

    One variable is solved for, but for ``1000P = 600`` and floors: ``2x = 10`` does not say 10.
    """
    if form.kind != "relation" or form.mark != "=" or form.parts[0].kind != "expression":
        return False
    read, value = read_expression(form.parts[0]), read_expression(form.parts[1])
    if read is None or value is None or value.variables or not read.variables:
        return False
    asked = _SCALED.fullmatch(form.parts[0].text) or read.tree[0] in ("floor", "ceil")
    return bool(asked) or (len(read.variables) > 1 and value.exactly(0) != 0)


def _exact(form: Form) -> Form:
    """``1/6 \\approx 0.167`` without its approximation, when that is near."""
    signs = form.mark.split()
    if (
        form.kind != "relation"
        or signs[-1] != "\\approx"
        or "\\approx" in signs[:-1]
        or form.parts[-1].number is None
    ):
        return form
    if len(form.parts) == 2 and VARIABLE.fullmatch(form.parts[0].text):
        return form
    exact, near = map(read_expression, form.parts[-2:])
    if exact is None or near is None or not algebra.near(exact, near, _NEAR):
        return form
    if len(signs) == 1:
        return form.parts[0]
    return Form("relation", form.text, form.parts[:-1], " ".join(signs[:-1]))


def _worked_out(form: Form) -> bool:
    """Whether a form is a calculation that ends in its value, every step of which is true: ``9 * 2
    = 18``.
    """
    if (
        form.kind != "relation"
        or set(form.mark.split()) != {"="}
        or form.parts[-1].kind not in ("number", "expression")
    ):
        return False
    *steps, result = form.parts
    if _asks(form):
        steps = steps[1:]
    if all(step.text == result.text for step in steps):
        return False
    return all(_equal_value(step, result) for step in steps)


def _asks(form: Form) -> bool:
    """Whether the first side is what was asked for, as in ``m+n = 256+37 = 293``, and no step of
    the calculation.
    """
    asked, *steps = form.parts
    if _QUANTITY.fullmatch(asked.text) or asked.kind == "words":
        return True
    if len(steps) < 2 or not _names_any(asked):
        return False
    return all(_names_any(step) is False for step in steps)


def _names_any(form: Form) -> bool | None:
    """Whether variables stand in an expression, None when it cannot be read."""
    read = read_expression(form)
    return None if read is None else bool(read.variables)


def _equal_value(step: Form, result: Form) -> bool:
    if step.number and result.number:
        return step.number.value == result.number.value
    try:
        return step.kind in ("expression", "range") and same_value(
            read_expression(result), read_expression(step)
        )
    except Unreadable:
        return False
