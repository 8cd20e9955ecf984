"""Sets of real numbers: intervals, inequalities, unions and what is left out, as disjoint pieces
from left to right.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from . import algebra
from .shapes import VARIABLE, Form

_MAX_ENDS = 20
_TURNED = {">": "<", "\\ge": "\\le", "<": ">", "\\le": "\\ge"}
_FINE = 10**40


@dataclass(frozen=True, slots=True)
class Piece:
    """An interval; an end that is None lies at infinity."""

    low: Form | None
    high: Form | None
    closed: tuple[bool, bool] = (False, False)


Cells = list[bool]
"""Which of the gaps and ends on the line belong to a set: gap, end, gap, end ... gap."""


@dataclass(frozen=True, slots=True)
class RealSet:
    """A set of real numbers, and the name of its variable where it has one."""

    pieces: tuple[Piece, ...]
    variable: str = ""


@dataclass(frozen=True, slots=True)
class _Built:
    """How a set is put together: the pieces of a leaf, or parts that are joined, met or taken
    away.
    """

    how: str
    pieces: tuple[Piece, ...] = ()
    parts: tuple["_Built", ...] = ()


def real_set(form: Form) -> RealSet | None:
    """The set of real numbers that a form describes, None when it describes none."""
    names: set[str] = set()
    built = _build(form, names)
    if built is None or len(names) > 1:
        return None
    pieces = _pieces(built)
    return None if pieces is None else RealSet(pieces, next(iter(names), ""))


def same_set(gold: RealSet, answer: RealSet, same: Callable[[Form, Form], bool]) -> bool:
    """Whether two sets have the same pieces, their ends compared as answers are."""

    def same_end(one: Form | None, other: Form | None) -> bool:
        return one is other if one is None or other is None else same(one, other)

    if gold.variable and answer.variable and gold.variable != answer.variable:
        return False
    return len(gold.pieces) == len(answer.pieces) and all(
        a.closed == b.closed and same_end(a.low, b.low) and same_end(a.high, b.high)
        for a, b in zip(gold.pieces, answer.pieces, strict=True)
    )


def _build(form: Form, names: set[str]) -> _Built | None:
    if form.kind == "literal" and form.text == "\\mathbb{R}":
        return _Built("leaf", (Piece(None, None),))
    if form.kind == "group" and len(form.parts) == 2 and form.mark in ("()", "(]", "[)", "[]"):
        return _interval(form)
    if form.kind == "set":
        return _Built(
            "leaf", tuple(Piece(end, end, (True, True)) for end in form.parts if _is_end(end))
        )
    if form.kind in ("union", "without"):
        return _joined("or" if form.kind == "union" else "minus", form.parts, names)
    if (
        form.kind == "list"
        and form.mark != "mixed"
        and all(part.kind == "relation" for part in form.parts)
    ):
        return _joined(form.mark, form.parts, names)
    return _relation(form, names) if form.kind == "relation" else None


def _joined(how: str, forms: Sequence[Form], names: set[str]) -> _Built | None:
    parts = [_build(part, names) for part in forms]
    return (
        None
        if None in parts
        else _Built(how, parts=tuple(part for part in parts if part is not None))
    )


def _interval(form: Form) -> _Built | None:
    low, high = form.parts
    closed = (form.mark[0] == "[", form.mark[1] == "]")
    if low.text == "-\\infty":
        if high.text == "\\infty":
            return None if any(closed) else _Built("leaf", (Piece(None, None),))
        return (
            _Built("leaf", (Piece(None, high, closed),))
            if _is_end(high) and not closed[0]
            else None
        )
    if not _is_end(low):
        return None
    if high.text == "\\infty":
        return None if closed[1] else _Built("leaf", (Piece(low, None, closed),))
    if not _is_end(high):
        return None
    first, last = _place(low), _place(high)
    # (2, 1) is a point and no interval.
    ordered = first is None or last is None or first < last
    return _Built("leaf", (Piece(low, high, closed),)) if ordered else None


def _relation(form: Form, names: set[str]) -> _Built | None:
    signs, sides = form.mark.split(), list(form.parts)
    if signs == ["\\in"] and _is_name(sides[0]):
        names.add(sides[0].text)
        return (
            _Built("leaf", (Piece(None, None),))
            if sides[1].text == "R"
            else _build(sides[1], names)
        )
    if signs in (["\\ne"], ["="]) and _is_name(sides[0]) and _is_end(sides[1]):
        names.add(sides[0].text)
        if signs == ["="]:
            return _Built("leaf", (Piece(sides[1], sides[1], (True, True)),))
        return _Built("leaf", (Piece(None, sides[1]), Piece(sides[1], None)))
    if any(sign not in _TURNED for sign in signs):
        return None
    if signs[0] in (">", "\\ge"):
        signs, sides = [_TURNED[sign] for sign in reversed(signs)], sides[::-1]
    return _ordered(signs, sides, names) if all(sign in ("<", "\\le") for sign in signs) else None


def _ordered(signs: list[str], sides: list[Form], names: set[str]) -> _Built | None:
    """``low < x <= high``, ``x < high``, ``low < x``, ``|x| < high`` or ``low < |x|``."""
    if sides[-1].text == "\\infty" and signs[-1] == "<" and len(sides) == 3:
        signs, sides = signs[:-1], sides[:-1]
    if sides[0].text == "-\\infty" and signs[0] == "<" and len(sides) == 3:
        signs, sides = signs[1:], sides[1:]
    closed = [sign == "\\le" for sign in signs]
    if len(sides) == 3 and _is_name(sides[1]) and _is_end(sides[0]) and _is_end(sides[2]):
        names.add(sides[1].text)
        return _Built("leaf", (Piece(sides[0], sides[2], (closed[0], closed[1])),))
    places = [place for place, side in enumerate(sides) if _is_name(side) or _is_name(side, "|")]
    if len(sides) != 2 or len(places) != 1 or not _is_end(sides[1 - places[0]]):
        return None
    name, end = sides[places[0]], sides[1 - places[0]]
    names.add(name.text.strip("|"))
    if not _is_name(name):
        return _around(end, closed[0], inside=places[0] == 0)
    if places[0] == 0:
        return _Built("leaf", (Piece(None, end, (False, closed[0])),))
    return _Built("leaf", (Piece(end, None, (closed[0], False)),))


def _around(end: Form, closed: bool, inside: bool) -> _Built | None:
    """``|x| < end`` and, not inside, ``end < |x|``, for a positive end."""
    if end.number is None or end.number.value <= 0:
        return None
    minus = Form("number", f"-{end.text}", number=replace(end.number, value=-end.number.value))
    if inside:
        return _Built("leaf", (Piece(minus, end, (closed, closed)),))
    return _Built("leaf", (Piece(None, minus, (False, closed)), Piece(end, None, (closed, False))))


def _is_name(form: Form, around: str = "") -> bool:
    text = form.text
    if around:
        if not (len(text) > 2 and text[0] == text[-1] == around):
            return False
        text = text[1:-1]
    return (
        form.kind == "expression"
        and not form.mark
        and bool(VARIABLE.fullmatch(text))
        and text not in ("e", "\\pi", "i")
    )


def _is_end(form: Form) -> bool:
    return form.kind in ("number", "expression") and not _is_name(form, "|")


def _pieces(built: _Built) -> tuple[Piece, ...] | None:
    """The disjoint pieces from left to right; a lone interval keeps ends whose order is not
    known.
    """
    ends: dict[int, Form] = {}
    for end in _ends(built):
        place = _place(end)
        if place is None:
            return built.pieces if built.how == "leaf" else None
        ends.setdefault(place, end)
    if len(ends) > _MAX_ENDS:
        return None
    places = sorted(ends)
    cells = _cells(built, places)
    pieces, start = [], -1
    for position in range(len(cells) + 1):
        inside = position < len(cells) and cells[position]
        if inside and start < 0:
            start = position
        elif not inside and start >= 0:
            pieces.append(_piece(start, position - 1, [ends[place] for place in places]))
            start = -1
    return tuple(pieces)


def _piece(first: int, last: int, ends: list[Form]) -> Piece:
    low = None if first == 0 else ends[(first - 1) // 2]
    high = None if last == 2 * len(ends) else ends[last // 2]
    return Piece(low, high, (first % 2 == 1, last % 2 == 1))


def _ends(built: _Built) -> list[Form]:
    own = [end for piece in built.pieces for end in (piece.low, piece.high) if end is not None]
    return own + [end for part in built.parts for end in _ends(part)]


def _place(end: Form) -> int | None:
    """Where an end lies on the line, in steps of 10^-40; None when it has variables."""
    if end.number:
        value: Fraction | None = end.number.value
    else:
        read = algebra.expression(end.text)
        value = algebra.real(read) if read else None
    return None if value is None else round(value * _FINE)


def _cells(built: _Built, places: list[int]) -> Cells:
    if built.how == "leaf":
        spans = [_span(piece, places) for piece in built.pieces]
        return [
            any(low <= cell <= high for low, high in spans) for cell in range(2 * len(places) + 1)
        ]
    parts = [_cells(part, places) for part in built.parts]
    if built.how == "or":
        return [any(cell) for cell in zip(*parts, strict=True)]
    if built.how == "minus":
        first, *others = parts
        return [cell and not any(other[i] for other in others) for i, cell in enumerate(first)]
    met = [all(cell) for cell in zip(*parts, strict=True)]
    # "x < -1, x > 1" can only mean either.
    return (
        met if built.how == "and" or any(met) else [any(cell) for cell in zip(*parts, strict=True)]
    )


def _span(piece: Piece, places: list[int]) -> tuple[int, int]:
    low = high = None
    if piece.low is not None:
        low = places.index(_place(piece.low) or 0)
    if piece.high is not None:
        high = places.index(_place(piece.high) or 0)
    first = 0 if low is None else 2 * low + (1 if piece.closed[0] else 2)
    last = 2 * len(places) if high is None else 2 * high + (1 if piece.closed[1] else 0)
    return first, last
