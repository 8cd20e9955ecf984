"""Sets of real numbers: intervals, inequalities, unions and what is left out, as disjoint pieces
from left to right.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby

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


def _leaf(*pieces: Piece) -> _Built:
    return _Built("leaf", pieces)


def _point(end: Form) -> Piece:
    return Piece(end, end, (True, True))


_LINE = _leaf(Piece(None, None))


def real_set(form: Form) -> RealSet | None:
    """The set of real numbers that a form describes, None when it describes none."""
    names: set[str] = set()
    built = _build(form, names)
    if built is None or len(names) > 1:
        return None
    pieces = _pieces(built)
    return None if pieces is None else RealSet(pieces, "".join(names))


def same_set(gold: RealSet, answer: RealSet, same: Callable[[Form, Form], bool]) -> bool:
    """Whether two sets have the same pieces, their ends compared as answers are."""
    if gold.variable and answer.variable and gold.variable != answer.variable:
        return False
    if len(gold.pieces) != len(answer.pieces):
        return False
    pairs = zip(gold.pieces, answer.pieces, strict=True)
    return all(_same_piece(expected, piece, same) for expected, piece in pairs)


def _same_piece(gold: Piece, answer: Piece, same: Callable[[Form, Form], bool]) -> bool:
    if gold.closed != answer.closed:
        return False
    for expected, end in ((gold.low, answer.low), (gold.high, answer.high)):
        if expected is None or end is None:
            if expected is not end:
                return False
        elif not same(expected, end):
            return False
    return True


def _build(form: Form, names: set[str]) -> _Built | None:
    if form.kind == "literal" and form.text == "\\mathbb{R}":
        return _LINE
    if form.kind == "group" and len(form.parts) == 2 and form.mark in ("()", "(]", "[)", "[]"):
        return _interval(form)
    if form.kind == "set":
        return _leaf(*map(_point, filter(_is_end, form.parts)))
    if form.kind == "union":
        return _joined("or", form.parts, names)
    if form.kind == "without":
        return _joined("minus", form.parts, names)
    if form.kind == "list" and form.mark != "mixed":
        if all(part.kind == "relation" for part in form.parts):
            return _joined(form.mark, form.parts, names)
    elif form.kind == "relation":
        return _relation(form, names)
    return None


def _joined(how: str, forms: Sequence[Form], names: set[str]) -> _Built | None:
    parts = []
    for form in forms:
        part = _build(form, names)
        if part is None:
            return None
        parts.append(part)
    return _Built(how, parts=tuple(parts))


def _interval(form: Form) -> _Built | None:
    closed = (form.mark[0] == "[", form.mark[1] == "]")
    ends: list[Form | None] = []
    for end, infinity, belongs in zip(form.parts, ("-\\infty", "\\infty"), closed, strict=True):
        at_infinity = end.text == infinity
        if belongs and at_infinity or not (at_infinity or _is_end(end)):
            return None
        ends.append(None if at_infinity else end)
    low, high = ends
    if low is not None and high is not None:
        start, stop = _place(low), _place(high)
        # (2, 1) is a point and no interval.
        if start is not None and stop is not None and start >= stop:
            return None
    return _leaf(Piece(low, high, closed))


def _relation(form: Form, names: set[str]) -> _Built | None:
    signs, sides = form.mark.split(), list(form.parts)
    if signs == ["\\in"] and _is_name(sides[0]):
        names.add(sides[0].text)
        return _LINE if sides[1].text == "R" else _build(sides[1], names)
    if signs in (["\\ne"], ["="]) and _is_name(sides[0]) and _is_end(sides[1]):
        names.add(sides[0].text)
        if signs == ["="]:
            return _leaf(_point(sides[1]))
        return _leaf(Piece(None, sides[1]), Piece(sides[1], None))
    if signs[0] in (">", "\\ge"):
        signs, sides = [_TURNED.get(sign, sign) for sign in reversed(signs)], sides[::-1]
    return _ordered(signs, sides, names) if {"<", "\\le"}.issuperset(signs) else None


def _ordered(signs: list[str], sides: list[Form], names: set[str]) -> _Built | None:
    """``low < x <= high``, ``x < high``, ``low < x``, ``|x| < high`` or ``low < |x|``."""
    if len(sides) == 3 and sides[-1].text == "\\infty" and signs[-1] == "<":
        signs, sides = signs[:-1], sides[:-1]
    if len(sides) == 3 and sides[0].text == "-\\infty" and signs[0] == "<":
        signs, sides = signs[1:], sides[1:]
    closed = [sign == "\\le" for sign in signs]
    if len(sides) == 3 and _is_name(sides[1]) and _is_end(sides[0]) and _is_end(sides[2]):
        names.add(sides[1].text)
        return _leaf(Piece(sides[0], sides[2], (closed[0], closed[1])))
    if len(sides) != 2:
        return None
    named = [_is_name(side) or _is_name(side, "|") for side in sides]
    name, end = sides if named[0] else reversed(sides)
    if all(named) or not any(named) or not _is_end(end):
        return None
    names.add(name.text.strip("|"))
    if not _is_name(name):
        return _around(end, closed[0], inside=named[0])
    if named[0]:
        return _leaf(Piece(None, end, (False, closed[0])))
    return _leaf(Piece(end, None, (closed[0], False)))


def _around(end: Form, closed: bool, inside: bool) -> _Built | None:
    """``|x| < end`` and, not inside, ``end < |x|``, for a positive end."""
    if end.number is None or end.number.value <= 0:
        return None
    minus = Form("number", f"-{end.text}", number=replace(end.number, value=-end.number.value))
    if inside:
        return _leaf(Piece(minus, end, (closed, closed)))
    return _leaf(Piece(None, minus, (False, closed)), Piece(end, None, (closed, False)))


def _is_name(form: Form, around: str = "") -> bool:
    text = form.text
    if around:
        if not (len(text) > 2 and text[0] == text[-1] == around):
            return False
        text = text[1:-1]
    if form.kind != "expression" or form.mark or text in ("e", "\\pi", "i"):
        return False
    return VARIABLE.fullmatch(text) is not None


def _is_end(form: Form) -> bool:
    return form.kind in ("number", "expression") and not _is_name(form, "|")


def _pieces(built: _Built) -> tuple[Piece, ...] | None:
    """The disjoint pieces from left to right; a lone interval keeps ends whose order is not
    known.
    """
    ends: dict[int, Form] = {}
    for end in _ends(built):
        at = _place(end)
        if at is None:
            return built.pieces if built.how == "leaf" else None
        ends.setdefault(at, end)
    if len(ends) > _MAX_ENDS:
        return None
    places = sorted(ends)
    bounds = [None, *map(ends.__getitem__, places), None]
    pieces, start = [], 0
    for inside, run in groupby(_cells(built, places)):
        stop = start + len(list(run))
        if inside:
            closed = (start % 2 == 1, stop % 2 == 0)
            pieces.append(Piece(bounds[(start + 1) // 2], bounds[(stop + 1) // 2], closed))
        start = stop
    return tuple(pieces)


def _ends(built: _Built) -> Iterator[Form]:
    for piece in built.pieces:
        yield from filter(None, (piece.low, piece.high))
    for part in built.parts:
        yield from _ends(part)


def _place(end: Form) -> int | None:
    """Where an end lies on the line, in steps of 10^-40; None when it has variables."""
    value: Fraction | None = None
    if end.number:
        value = end.number.value
    elif read := algebra.expression(end.text):
        value = algebra.real(read)
    return None if value is None else round(value * _FINE)


def _cells(built: _Built, places: list[int]) -> list[bool]:
    """Which of the gaps and ends on the line belong to a set: gap, end, gap, end ... gap."""
    if built.how == "leaf":
        cells = [False] * (2 * len(places) + 1)
        for piece in built.pieces:
            for cell in _span(piece, places):
                cells[cell] = True
        return cells
    columns = list(zip(*[_cells(part, places) for part in built.parts], strict=True))
    if built.how == "minus":
        return [kept and not any(taken) for kept, *taken in columns]
    met = list(map(all, columns))
    # "x < -1, x > 1" can only mean either.
    if built.how == "or" or (built.how != "and" and not any(met)):
        return list(map(any, columns))
    return met


def _span(piece: Piece, places: list[int]) -> range:
    """The cells that an interval covers."""
    start, stop = 0, 2 * len(places) + 1
    if piece.low is not None:
        start = 2 * places.index(_place(piece.low) or 0) + 2 - piece.closed[0]
    if piece.high is not None:
        stop = 2 * places.index(_place(piece.high) or 0) + 1 + piece.closed[1]
    return range(start, stop)
