"""What may stand around a box in its formula: a name and "=" before it, a unit, an equal value or a
stop after it.

With anything else beside it, as in ``2\\boxed{9}``, ``\\ln\\boxed{9}`` or ``\\boxed{9}-3``, the box
holds a part of the answer.
"""

import re

from .._maths.units import read_unit

_NEAR, _CLOSE = 200, 30
_STYLE = (
    r"\\(?:math(?:bf|rm|it|sf|bb)|text(?:bf|it|rm|sf|normal)?|bm|boldsymbol|emph|underline"
    r"|displaystyle|mbox|hbox"
    r"|(?:text)?color)"
)
_SPACE = (
    r"~|\\[,;:! ]|\\q?quad(?![a-z])"
    r"|\\(?:displaystyle|tiny|small|[lL]arge|LARGE|[hH]uge|left|right|hfill)(?![a-z])"
)
_WORD = re.compile(r"(?<![\\A-Za-z])[^\W\d_]{2,}|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")
_SOFT_BEFORE = re.compile(
    rf"(?:\s|</?[a-z]+>|{_SPACE}|\*\*|__|(?<![\w)\]}}])[*_]|\\\$"
    rf"|[\u20ac\u00a3\u00a5\u20b9\"'`\u201c\u2018\u00ab]"
    rf"|{_STYLE}\s*\{{|(?<![\w\\^_}}\])])\{{)+\Z"
)
_BORDER_BEFORE = re.compile(
    r"(?:(?<!\\)\$\$?|\\[\[(]|\\begin\s*\{[a-z]+\*?\}(?:\{[a-z]+\})?|(?<!\\)&)\Z"
)
_OPEN = re.compile(r"(?<!\\)[(\[]\Z")
_FOREIGN = r"[\u00e0-\u00f6\u00f8-\u02ff\u0400-\u1fff\u2190-\u21ff\u2600-\U0001ffff]"
"""Letters of other alphabets, which are no symbols of mathematics, and ornaments."""
_BRACKETED = re.compile(r"(?<!\\)[(\[][\s$]*\Z")
_ARROWS = (
    r"\\(?:implies|iff|(?:Long|long)?(?:[Rr]ight|Left[Rr]ight)arrow|to|therefore|because)(?![a-z])"
    r"|[=-]>"
    r"|[\u21d2\u2192\u2234\u27f9]"
)
_LEADS = re.compile(
    rf"(?:[=:,.;!?>\u2026\u2248\u2261\u3001\u3002\u2013\u2014#\u2022\"')\]]|\\\\|{_ARROWS}"
    r"|\\(?:approx|equiv|cong|in|item|newline|par|hline|end\s*\{[a-z]+\*?\}|text\w*\s*\{[^{}]*\})"
    rf"|(?:\A|(?<=[\s(*_]))[aAI]|['\u2019](?:s|re|d|ll|ve)|(?<![\\A-Za-z])[^\W\d_]{{2,}}"
    rf"|{_FOREIGN})\Z"
)
_FUNCTION = re.compile(r"\b(?:ln|log|sin|cos|tan|exp|sqrt|det|gcd|lcm|max|min|mod)\Z")
_DASH = re.compile(r"(?:\A|(?<![\\A-Za-z])[^\W\d_]{2,}|[:.*)\]=\n])[ \t*]*[-\u2013\u2014]{1,3}\Z")
_SIGN = re.compile(
    r"(?:\A|[=:\n,;]|(?<![\\A-Za-z])[^\W\d_]{2,}|\\(?:approx|equiv|in)|(?<!\\)\$\$?|\\[\[(]"
    r"|&)\s*[-\u2212]\Z"
)
_DECIMAL = re.compile(r"\d[.:,]\Z|(?<![A-Za-z)\]}*])\.\Z")
_ITEM = re.compile(r"(?:\A|\n)\s*\(\w\)\Z")
_RELATION = re.compile(
    r"(?:<|(?<![=-])>|\\[lg](?:eq?|t)(?:slant)?|\\neq?|!=|[\u2264\u2265\u2260])\Z"
)

_SOFT_AFTER = re.compile(
    r"(?:["
    rf" \t]|{_SPACE}|\*\*|__|[*_](?![\w{{\\(])|[}}\"`\u201d\u2019\u00bb]|'(?!')(?=[\s.,;:)]|\Z))*"
)
_ENDS = re.compile(r"(?<!\\)\$\$?|\\[\])]|\\end\s*\{[a-z]+\*?\}")
_CLOSES = re.compile(rf"{_ENDS.pattern}|[)\]]")
_UNIT_SIGN = re.compile(
    r"\\?%|\^\s*\{?\s*\\circ\s*\}?\s*[CF]?\b|\^\s*\{\s*\\circ\s*\}|\u00b0[CF]?"
    r"|[\u20ac\u00a2\u00a3\u00a5]|\\\$|\\degree"
)
_STOP = re.compile(
    r"[.!?\u2026]+(?![\d.]|\\(?:overline|bar|dot))"
    r"|[,;:](?![\d\\=])(?!\s*[$\\(]*-?\d[\d.,]*[$)]*\s*(?:[.;]?\s*\Z|\n))(?!\s*\{)|[\u3001\u3002]"
)
_RATIO = re.compile(r"\s*:\s*[\d$\\]")
_FACTORIAL = re.compile(r"!\s*(?:\$|\\[\])]|[-+*/=!^\\])")
_GOES_ON = re.compile(
    rf"(?:{_ARROWS}|\\(?:blacksquare|square|qed|checkmark|tag|label|pmod|mod|because|therefore"
    rf"|newline|cr|hline)"
    rf"|(?:\\approx|[\u2248\u2261]|\\equiv)\s*-?\$?[\d\\][\d.,]*(?![\d.,]|\s?[A-Za-z](?![A-Za-z]))"
    rf"|[\u25a0\u25a1\u220e]|</?[a-z]{{1,10}}>|\|(?=\s|\Z)|#|&|\\\\|{_FOREIGN})"
)
_DASHED = re.compile(
    r"[-\u2013\u2014]{1,3}\s*(?:[aAI]\b|[^\W\d_]{2,})|[\u2014\u2013](?!\s*[\d$\\])"
)
_TEXT = re.compile(r"\\(?:text\w*|mathrm|mbox|hbox|operatorname)\s*\{([^{}]*)\}")
_LETTERS = re.compile(r"[^\W\d_]+")
_BRACKET = re.compile(r"[(\[]([^()\[\]\n]*)")
_OPERATOR = re.compile(
    r"(?:[ \t&{}*$]|\\q?quad|\\[\[(,;])*"
    r"(?:[-+\u00d7\u00f7\u00b7*/^\u2212]|\\(?:times|cdot|div|pm|sqrt|frac))\s*[\d\\$({a-z]"
)
_COMMAND = re.compile(r"\\(?:begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+")
_BRACKETS = re.compile(r"\\[{}]|[][(){}]")


def why_part(text: str, start: int, end: int) -> str:
    """Why the box at text[start:end] is only a part of what is written, or "" when it stands for
    itself.
    """
    before = text[max(0, start - _NEAR) : start]
    alone = _leads(before) and _follows(text, start, end)
    if alone and _BRACKETED.search(before, len(before) - min(len(before), _CLOSE)):
        alone = bool(
            re.match(
                rf"(?:{_SOFT_AFTER.pattern})(?:{_ENDS.pattern})?\s*[)\]]", text[end : end + _CLOSE]
            )
        )
    return "" if alone else "the answer is part of a larger expression"


def _leads(before: str) -> bool:
    """Whether what stands before a box may stand there."""
    if not _balanced(before):
        return False
    rest, crossed = before, False
    bracketed = False
    while True:
        near = max(0, len(rest) - _CLOSE)
        cut = (
            _SOFT_BEFORE.search(rest, near)
            or _BORDER_BEFORE.search(rest, near)
            or _OPEN.search(rest, near)
        )
        if cut is None:
            break
        crossed = crossed or "\n" in cut[0] or bool(_BORDER_BEFORE.search(cut[0]))
        bracketed = bracketed or bool(_OPEN.match(cut[0]))
        rest = rest[: cut.start()]
    written, rest = len(rest), rest[-_CLOSE:]
    if rest.endswith(("-", "\u2212", "\u2013", "\u2014")):
        return not bracketed and bool(_SIGN.search(rest) or _DASH.search(rest))
    if not rest or _RELATION.search(rest) or _FUNCTION.search(rest):
        return not rest
    if "\n" in before[written:] and not re.search(r"[-+*/^=<>]\Z", rest):
        return True
    if _DECIMAL.search(rest) and not before[written : written + 1].isspace():
        return False
    if _ITEM.search(rest):
        return True
    return bool(_LEADS.search(rest)) and (crossed or rest[-1] not in ")]")


def _balanced(before: str) -> bool:
    """Whether no bracket stays open before a box, but those of fonts, of prose and right around
    it.
    """
    formula = re.split(r"\n\s*\n|\\\\|(?<!\\)\$\$?|\\[\[\]()]", before)[-1]
    opened: list[tuple[str, int, int]] = []
    for bracket in _BRACKETS.finditer(formula):
        if bracket[0] in ("(", "[", "{", "\\{"):
            opened.append((bracket[0], bracket.start(), bracket.end()))
        elif opened:
            opened.pop()
    return all(_harmless(formula, *bracket) for bracket in opened)


def _harmless(formula: str, bracket: str, start: int, end: int) -> bool:
    inside = formula[end:]
    if bracket == "{":
        return bool(re.search(rf"(?:{_STYLE}\s*|(?:\A|[\s=&*(]))\Z", formula[:start]))
    if inside.strip() and re.search(r"[A-Za-z}]\Z", formula[:start]):
        return False
    return bracket != "\\{" and (
        not inside.strip() or bool(_WORD.search(inside)) or inside.rstrip().endswith("=")
    )


def _follows(text: str, start: int, end: int) -> bool:
    """Whether what stands after a box may stand there."""
    position, crossed = end, False
    for _ in range(12):
        skipped = _SOFT_AFTER.match(text, position)
        position = skipped.end() if skipped else position
        closed = _CLOSES.match(text, position) or _UNIT_SIGN.match(text, position)
        if closed is None or (crossed and closed[0][0] == "$"):
            break
        crossed, position = crossed or bool(_ENDS.match(closed[0])), closed.end()
    rest = text[position : position + _NEAR]
    parted = position > end
    if not rest or rest[0] == "\n" or rest.startswith("\\\\"):
        return not _goes_on_below(rest)
    if rest[0] == "!" and not crossed and _FACTORIAL.match(rest):
        return False
    if rest[0] == "$":
        inside = rest.lstrip("$ ")
        return (
            not inside
            or inside[0] in "\n.,;"
            or inside.startswith(
                ("=", "\\approx", "\\text", "\\mathrm", "\\implies", "\\Rightarrow")
            )
        )
    in_formula = not crossed and _in_formula(text, start)
    if (
        in_formula
        and text[position - 1] != " "
        and (bare := _LETTERS.match(rest))
        and len(bare[0]) < 4
        and not read_unit(bare[0])
    ):
        return False
    return _may_follow(rest, parted or not in_formula, crossed)


def _in_formula(text: str, start: int) -> bool:
    line = text[max(text.rfind("\n", 0, start), start - _NEAR, 0) : start]
    return bool(
        (line.count("$") - line.count("\\$")) % 2
        or max(line.rfind("\\("), line.rfind("\\[")) > line.rfind("\\)")
    )


def _may_follow(rest: str, parted: bool, crossed: bool) -> bool:
    if _RATIO.match(rest):
        return False
    if _STOP.match(rest) or _GOES_ON.match(rest) or rest[0] == "=":
        return True
    if rest[0] in "([":
        inside = _BRACKET.match(rest)
        return (
            parted
            and inside is not None
            and bool(_WORD.search(inside[1]) or inside[1].lstrip()[:1] in "=\u2248")
        )
    if rest[0] in "-\u2013\u2014":
        return parted and bool(_DASHED.match(rest))
    named = _TEXT.match(rest)
    letters = _LETTERS.search(named[1]) if named else _LETTERS.match(rest)
    if letters is None:
        return bool(named) and not re.search(r"\d", rest[: named.end()] if named else "")
    word = letters[0] if not named else named[1].strip()
    if not letters[0][0].isalpha() or "\u0370" <= letters[0][0] <= "\u03ff":
        return False
    if len(word) == 1 and word.isascii():
        return (parted or bool(named)) and (
            bool(read_unit(word)) or (word in "aAI" and (crossed or not named))
        )
    return bool(named) or parted or len(word) > 2 or bool(read_unit(word)) or not word.isascii()


def _goes_on_below(rest: str) -> bool:
    """Whether the next line continues the formula: an operator at its start, and no words."""
    line = re.sub(r"\A(?:\\\\|\s)+", "", rest).partition("\n")[0]
    return bool(_OPERATOR.match(line)) and not _WORD.search(_COMMAND.sub(" ", line))
