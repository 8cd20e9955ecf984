"""The shape of an answer: a number, a word, a list, a set, a tuple, a relation, a matrix ... with
its parts.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from .._text.completion import NoAnswer
from .._text.words import ABOUT
from .expression import MAX_CHARS
from .latex import bare, canonical, clean, closes_at_end
from .numbers import Quantity, read_quantity
from .units import read_unit

MAX_ANSWER = 1_000
"""A longer answer (in characters) is not read."""

_MAX_DEPTH = 12
_MAX_PARTS = 100

_LIST = re.compile(
    r"\s*(?:[,;]\s*(?:(?:and|or)\b)?|\b(?:and|or)\b|\\(?:lor|vee|land|wedge)(?![a-z]))\s*"
)
_OR = re.compile(r"or\b|\\lor|\\vee")
_COMMA = re.compile(r"\s*[,;]\s*")
_UNION = re.compile(r"\s*\\cup(?![a-z])\s*")
_WITHOUT = re.compile(r"\s*\\(?:setminus|backslash)(?![a-z])\s*")
_RELATION = re.compile(r"\s*(?:\\(?:le|ge|ne|in|approx|equiv|to|sim)(?![a-z])|[<>=])\s*")
VARIABLE = re.compile(r"[A-Za-z](?:_\w|_\{\w+\}|')?|\\[a-z]+(?:_\w)?|[A-Za-z]'{0,2}\([a-z]\)")
_BASED = re.compile(r"(\d[0-9A-Fa-f]*)\s*_\s*\{?\s*(\w+)\s*\}?", re.ASCII)
_PREFIXED = re.compile(r"0(?:[bB]([01]+)|[oO]([0-7]+)|[xX]([0-9A-Fa-f]+))")
_BASES = {"two": "2", "three": "3", "five": "5", "eight": "8", "ten": "10", "sixteen": "16"}
_AMOUNT = r"[$\u20ac\u00a3\ue000]?\s*\d+(?:\.\d+)?\s*%?"
_RANGE = re.compile(
    rf"{_AMOUNT}(?:\s*--?\s*{_AMOUNT})+|\d+(?:\s*/\s*\d+){{2,}}|\d+(?:\.\d+){{2,}}", re.ASCII
)
"""A range, score or date: 10-12, 7-3, 2026-05-03, 12/25/2024. Its numbers are not subtracted."""
_SYMBOL = re.compile(r"[-+]?\\infty|\\mathbb\{[A-Z]\}")
_WORDS = re.compile(r"[^\W\d_]{2,}(?:[ '\u2019-]+[^\W\d_]+)*\.?")
_NO_SOLUTION = re.compile(
    r"(?:(?:it|this|there|the equation|the system)\s+(?:has|have|is|are)\s+)?no (?:real |such"
    r" )?(?:solutions?|roots?)(?: exists?)?"
    r"|(?:the )?empty set",
    re.IGNORECASE,
)
_REALS = re.compile(r"(?:the set of )?(?:all|any) reals?(?: numbers?)?(?: [a-z])?", re.IGNORECASE)
_SYNONYMS = {"dne": "does not exist"}
_RATIO = re.compile(
    r"\d+(?:\.\d+)?(?:\s*:\s*\d+(?:\.\d+)?)+(?:\s*[ap]\.?\s?m)?", re.ASCII | re.IGNORECASE
)
_BESIDE = re.compile(
    r"(?P<value>.*?\S)\s+(?P<unit>(?:square |cubic )?[A-Za-z]{2,}(?:\s*\^\s*\{?-?[123]\}?)?"
    r"|[A-Za-z]{1,12}\s*(?:/|\bper\b)\s*[A-Za-z]{1,12}(?:\s*\^\s*\{?[123]\}?)?)"
    r"|(?P<angle>(?!.*\\(?:sin|cos|tan|cot|sec|csc"
    r"|pi)(?![a-z])).*\S)\s*(?P<degree>\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\u00b0)",
)
_PROSE = re.compile(r"(?<![\\A-Za-z])(?!sqrt|sinh|cosh|tanh|arc)[A-Za-z]{4,}")
_MIXED = re.compile(
    r"\d+(?:\.\d+)?\s*([a-z]{1,12})(?:,?\s+(?:and\s+)?\d+(?:\.\d+)?\s*([a-z]{1,12}))+",
    re.IGNORECASE,
)
_EACH = re.compile(r"(\d+(?:\.\d+)?\s*[A-Za-z]{1,12})(?:,?\s+and\s+|,?\s*)")
_CONGRUENT = re.compile(
    r"(?:[A-Za-z]\s*\\equiv\s*)?(-?\d{1,40}(?:\s*(?:,|or"
    r"|and)\s*-?\d{1,40})*)\s*\(?\s*(?:\\[pb]?mod(?![a-z])|\bmod\b)\s*\{?\s*(\d{1,40})\s*\}?\s*\)?"
)
_ENVIRONMENT = re.compile(r"\\(begin|end)\{")
_MATRIX = re.compile(r"\\begin\{([pbvBV]?)matrix\}(.*)\\end\{\1matrix\}", re.DOTALL)
_SCALED = re.compile(
    r"(.*?\S)\s*(?:\\cdot|\\times|\*)?\s*(\\begin\{([pbB]?)matrix\}.*\\end\{\3matrix\})", re.DOTALL
)
_TRANSPOSED = re.compile(r"(.*\S)\s*\^\s*\{?\s*(?:T|\\top|t)\s*\}?", re.DOTALL)
_CASES = re.compile(r"\\begin\{[dr]?cases\}(.*)\\end\{[dr]?cases\}", re.DOTALL)
_WHEN = re.compile(r"\A[\s,;]*(?:(?:if|for|when|where)\b)?\s*|[\s,.;]+\Z", re.IGNORECASE)
_INLINE_WHEN = re.compile(r",?\s+(?:if|for|when)\s+", re.IGNORECASE)
_OTHERWISE = re.compile(r"otherwise|else|elsewhere", re.IGNORECASE)
_SUCH_THAT = re.compile(
    r"([A-Za-z](?:\s*\\in\s*(?:\\mathbb\{([A-Z])\}|([A-Z])))?)\s*(?:\\mid(?![a-z])|[|:])\s*(.+)",
    re.DOTALL,
)
_ABOUT = re.compile(
    rf"(?:\\(?:approx|sim|simeq|cong)(?![a-z])|~|{ABOUT})\s*(.+)"
    r"|(.*\d)\s*(?:\.{2,}|\\[lc]?dots(?![a-z])|,?\s*approximately|\(approx(?:imately|\.)?\))",
    re.IGNORECASE,
)

_PLAIN_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?", re.ASCII)

Kind = Literal[
    "number", "words", "expression", "list", "set", "group", "union", "without", "relation",
    "matrix", "cases", "congruence", "range", "approximate", "literal",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Form:
    """An answer taken apart: its kind, its canonical text, its parts, and brackets, operators or
    unit in `mark`.
    """

    kind: Kind
    text: str
    parts: tuple["Form", ...] = ()
    mark: str = ""
    number: Quantity | None = None


EMPTY = Form("set", "\\{\\}")
REALS = Form("literal", "\\mathbb{R}")


def read(text: str) -> Form:
    """The form of an answer; raises NoAnswer when there is nothing in it, or too much."""
    if len(text) > MAX_ANSWER:
        raise NoAnswer(f"an answer of {len(text)} characters; at most {MAX_ANSWER} are read")
    if _PLAIN_NUMBER.fullmatch(text):  # most answers: nothing of it is LaTeX
        return Form("number", text, number=Quantity(Fraction(text)))
    form = _read(clean(text), 0)
    if _algebra_in(form) > 2 * MAX_CHARS:
        raise NoAnswer(f"more than {2 * MAX_CHARS} characters of algebra")
    return form


def _algebra_in(form: Form) -> int:
    """How many characters of a form are expressions."""
    if form.parts:
        return sum(map(_algebra_in, form.parts))
    return len(form.text) if form.kind == "expression" else 0


def _read(text: str, depth: int) -> Form:
    if not text:
        raise NoAnswer("an empty answer")
    if depth > _MAX_DEPTH:
        raise NoAnswer(f"an answer nested more than {_MAX_DEPTH} deep")
    if _PLAIN_NUMBER.fullmatch(text):
        return Form("number", text, number=Quantity(Fraction(text)))
    quantity = read_quantity(text)
    if quantity is not None:
        return Form("number", canonical(text), number=quantity, mark=quantity.unit)
    for reader in _READERS:
        if form := reader(text, depth):
            return form
    return _read_leaf(text)


def _read_approximate(text: str, depth: int) -> Form | None:
    about = _ABOUT.fullmatch(text)
    if about is None:
        return None
    return Form("approximate", canonical(text), (_read(bare(about[1] or about[2]), depth + 1),))


def _read_congruence(text: str, depth: int) -> Form | None:
    if "mod" not in text or not (congruent := _CONGRUENT.fullmatch(text)):
        return None
    modulus = int(congruent[2])
    if modulus == 0:
        return None
    residues = {int(residue) % modulus for residue in re.findall(r"-?\d+", congruent[1])}
    return Form("congruence", f"{sorted(residues)} mod {modulus}")


def _read_list(text: str, depth: int) -> Form | None:
    if text.count("\\pm") == 1:
        both = [text.replace("\\pm", "+"), text.replace("\\pm", "-")]
        return _form("list", text, both, depth, ",")
    if _MIXED.fullmatch(text):
        items = _EACH.findall(text)
        units = [read_unit(re.sub(r"[\d.\s]", "", item)) for item in items]
        if all(units) and len(set(units)) == len(units):
            return _form("list", text, items, depth, "mixed")
    items, separators = split(text, _LIST)
    if not separators:
        return None
    mark = ","
    if any(map(_OR.search, separators)):
        mark = "or"
    elif not all(separator.endswith((",", ";")) for separator in separators):
        mark = "and"
    return _form("list", text, items, depth, mark)


def _read_relation(text: str, depth: int) -> Form | None:
    sides, operators = split(text, _RELATION)
    if not operators:
        return None
    return _form("relation", text, sides, depth, " ".join(operators))


def _read_matrix(text: str, depth: int) -> Form | None:
    if "^" in text and (transposed := _TRANSPOSED.fullmatch(text)):
        if text[0] not in "([\\":
            return None
        return _transposed(_read(bare(transposed[1]), depth + 1))
    if "\\begin" not in text:
        return None
    if matrix := _MATRIX.fullmatch(text):
        cells, widths = list[str](), list[int]()
        for row in matrix[2].strip().removesuffix("\\\\").split("\\\\"):
            columns = row.split("&")
            cells += columns
            widths.append(len(columns))
        bars = "|" if matrix[1] in ("v", "V") else ""
        return _form("matrix", text, cells, depth, f"{bars}{widths}")
    if scaled := _SCALED.fullmatch(text):
        return _scaled(_read(bare(scaled[1]), depth + 1), _read(scaled[2], depth + 1))
    return None


def _transposed(form: Form) -> Form | None:
    """A row as a column: ``(1,-2,3)^T``."""
    if form.kind == "group" or (form.kind == "matrix" and form.mark == f"[{len(form.parts)}]"):
        return Form("matrix", f"{form.text}^T", form.parts, str([1] * len(form.parts)))
    return None


def _scaled(scalar: Form, matrix: Form) -> Form | None:
    """A matrix with the number or expression before it multiplied into its cells."""
    if scalar.kind not in ("number", "expression") or matrix.kind != "matrix":
        return None
    cells = []
    for cell in matrix.parts:
        if scalar.number and cell.number:
            product = Quantity(scalar.number.value * cell.number.value)
            cells.append(Form("number", str(product.value), number=product))
        elif cell.kind in ("number", "expression"):
            cells.append(Form("expression", f"({scalar.text})({cell.text})"))
        else:
            return None
    return Form("matrix", f"{scalar.text}{matrix.text}", tuple(cells), matrix.mark)


def _read_cases(text: str, depth: int) -> Form | None:
    """A piecewise function, its rows in any order, or a system of equations."""
    if "cases}" not in text or not (cases := _CASES.fullmatch(text)):
        return None
    rows = list(filter(None, map(str.strip, cases[1].split("\\\\"))))
    cells = list(map(_cells, rows))
    widths = set(map(len, cells))
    if widths <= {1}:
        return _form("list", text, rows, depth, ",")
    if len(cells) > _MAX_PARTS or widths != {2}:
        return None
    return Form(
        "cases", canonical(text), tuple(_row(value, condition, depth) for value, condition in cells)
    )


def _cells(row: str) -> list[str]:
    """The value and the condition of a row, or what else is in it."""
    return row.split("&") if "&" in row else _INLINE_WHEN.split(row, maxsplit=1)


def _row(value: str, condition: str, depth: int) -> Form:
    plain, when = _WHEN.sub("", condition), Form("words", "otherwise")
    if not _OTHERWISE.fullmatch(plain):
        when = _read(bare(plain), depth + 1)
    return Form("group", canonical(value + condition), (_read(bare(value), depth + 1), when), "row")


def _read_union(text: str, depth: int) -> Form | None:
    items, separators = split(text, _UNION)
    if separators:
        return _form("union", text, items, depth)
    items, separators = split(text, _WITHOUT)
    return _form("without", text, items, depth) if separators else None


def _read_brackets(text: str, depth: int) -> Form | None:
    if text.startswith("\\{") and text.endswith("\\}") and closes_at_end(text[1:-2] + "}"):
        inside = text[2:-2].strip()
        if described := _SUCH_THAT.fullmatch(inside):
            condition = described[4]
            if (described[2] or described[3] or "R") != "R":
                condition += f", {described[1]}"
            return _read(bare(condition), depth + 1)
        return _form("set", text, split(inside, _COMMA)[0], depth) if inside else EMPTY
    if not (text[0] in "([" and text[-1] in ")]" and closes_at_end(text)):
        return None
    items = split(text[1:-1], _COMMA)[0]
    mark = text[0] + text[-1]
    if len(items) == 1 and mark == "()":
        return _read(bare(items[0]), depth + 1)
    return _form("group", text, items, depth, mark)


_READERS: tuple[Callable[[str, int], Form | None], ...] = (
    _read_approximate,
    _read_congruence,
    _read_list,
    _read_relation,
    _read_cases,
    _read_matrix,
    _read_union,
    _read_brackets,
)


def _read_leaf(text: str) -> Form:
    if literal := _literal(text):
        return Form("literal", literal)
    if _WORDS.fullmatch(text):
        return _read_words(" ".join(text.split()))
    expression, unit = text, ""
    if beside := _BESIDE.fullmatch(text):
        unit = read_unit(beside["unit"] or beside["degree"]) or ""
        if unit:
            expression = beside["value"] or beside["angle"]
    if _RANGE.fullmatch(expression):
        written = canonical(expression).replace("--", "-")
        return Form("range", re.sub(r"(?<!\d)0+(?=\d)", "", written), mark=unit)
    if _PROSE.search(expression):
        return Form("literal", canonical(text))
    return Form("expression", canonical(expression), mark=unit)


def _literal(text: str) -> str:
    """One spelling of a symbol, a ratio or time, or a number of another base; "" for all else."""
    plain = canonical(text)
    if _SYMBOL.fullmatch(plain):
        return plain.lstrip("+")
    if _RATIO.fullmatch(text):
        ratio = re.sub(r"\s*:\s*", ":", text)
        return re.sub(r"[\s.]*([ap])[.\s]*m\Z", r"\1m", ratio, flags=re.IGNORECASE)
    if based := _BASED.fullmatch(text):
        return f"{based[1]}_{_BASES.get(based[2], based[2])}"
    if prefixed := _PREFIXED.fullmatch(text):
        group = prefixed.lastindex or 1
        return f"{prefixed[group]}_{(2, 8, 16)[group - 1]}"
    return ""


def _read_words(text: str) -> Form:
    plain = text.rstrip(".")
    if _NO_SOLUTION.fullmatch(plain):
        return EMPTY
    if _REALS.fullmatch(plain):
        return REALS
    return Form("words", _SYNONYMS.get(plain.casefold(), text))


def _form(kind: Kind, text: str, items: list[str], depth: int, mark: str = "") -> Form:
    if len(items) > _MAX_PARTS:
        raise NoAnswer(f"an answer of {len(items)} parts; at most {_MAX_PARTS} are read")
    return Form(kind, canonical(text), tuple(_read(bare(item), depth + 1) for item in items), mark)


def split(text: str, separator: re.Pattern[str]) -> tuple[list[str], list[str]]:
    """The parts of a text and the separators between them, outside all brackets and
    environments.
    """
    if not separator.search(text):
        return [text], []
    parts, separators, start, depth, i = [], [], 0, 0, 0
    while i < len(text):
        if text[i] == "\\" and (environment := _ENVIRONMENT.match(text, i)):
            depth += 1 if environment[1] == "begin" else -1
        depth += (text[i] in "([{") - (text[i] in ")]}")
        if depth == 0 and (parting := separator.match(text, i)):
            parts.append(text[start:i])
            separators.append(parting[0].strip())
            start = i = parting.end()
        else:
            i += 1
    return [*parts, text[start:]], separators
