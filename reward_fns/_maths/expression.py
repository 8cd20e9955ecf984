"""A small LaTeX grammar: an expression becomes a tree, in time linear in its tokens and within
stated caps.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

MAX_CHARS = 300
MAX_TOKENS = 150
MAX_NESTING = 10
MAX_DIGITS = 100

Tree = tuple[Any, ...]
"""A node: its name, then its parts. Leaves are ("number", Fraction), ("variable", name), ("pi",),
("e",), ("i",).
"""

_PLAIN_FUNCTIONS = ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "exp", "ln")
_FUNCTIONS = dict(zip(_PLAIN_FUNCTIONS, _PLAIN_FUNCTIONS, strict=True))
_FUNCTIONS |= {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "log": "log10", "lg": "log10"}
_INVERSES = {"sin": "asin", "cos": "acos", "tan": "atan"}
_OF_SEVERAL = ("max", "min", "gcd", "lcm")
_SUMS = {"sum": "sum", "prod": "product"}
_FACTORS = {
    *("frac", "sqrt", "pi", "binom", "lfloor", "lceil", "(", "{", "["),
    *_OF_SEVERAL,
    *_SUMS,
}
"""Signs and commands with which a factor begins."""
_GREEK = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi"
    " rho sigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi"
    " Omega"
).replace(" ", "|")
_SUBSCRIPT = r"(?:_(?:[A-Za-z0-9]|\{[A-Za-z0-9]{1,3}\}))?"
_COMMANDS = (
    "frac|sqrt|pi|cdot|times|div|[dt]?binom|choose|b?mod|[lr]floor|[lr]ceil|[lr]?vert|sum|prod"
    "|max|min|gcd|lcm"
)
_TOKEN = re.compile(
    rf"\\(?P<function>{'|'.join(sorted(_FUNCTIONS, key=len, reverse=True))})(?![A-Za-z])"
    rf"|\\(?P<command>{_COMMANDS})(?![A-Za-z])"
    rf"|(?P<variable>(?:[A-Za-z]|\\(?:{_GREEK})(?![A-Za-z])){_SUBSCRIPT})"
    r"|(?P<number>\d+(?:\.\d+)?|\.\d+)|(?P<sign>!!|\\[{}]|\^\s*(?:\\circ(?![A-Za-z])"
    r"|\{\s*\\circ\s*\})|[-+*/^|_(){}\[\],=!\u00b0\u230a\u230b\u2308\u2309])|\s+",
    re.ASCII,
)
_PLAIN = re.compile(rf"(?<![\\A-Za-z])(pi|sqrt|max|min|gcd|lcm|{'|'.join(_FUNCTIONS)})(?![A-Za-z])")
_SPELLINGS = {
    **{"\u230a": "lfloor", "\u230b": "rfloor", "\u2308": "lceil", "\u2309": "rceil"},
    **{"dbinom": "binom", "tbinom": "binom", "mod": "bmod", "times": "*", "cdot": "*"},
    **{"lvert": "|", "rvert": "|", "vert": "|"},
}
_CLOSING = {
    **{"(": ")", "{": "}", "[": "]", "|": "|", "\\{": "\\}"},
    **{"lfloor": "rfloor", "lceil": "rceil"},
}
_MEANING = {"|": "abs", "lfloor": "floor", "lceil": "ceil"}


_DEGREE: Tree = ("/", ("pi",), ("number", Fraction(180)))


class Unreadable(ValueError):
    """The expression is outside the caps or the grammar, or too large to be evaluated."""


def tree(text: str) -> Tree:
    """The expression as a tree; raises Unreadable outside the caps or the grammar."""
    reader = _Reader(tokenise(text))
    read = reader.chosen()
    if reader.look():
        raise Unreadable(f"{reader.look()!r} is not expected")
    return read


def nodes(node: Tree) -> Iterator[Tree]:
    """A tree and all the trees in it."""
    yield node
    for part in node[1:]:
        if isinstance(part, tuple):
            yield from nodes(part)


def tokenise(text: str) -> list[tuple[str, str]]:
    """Kind and text of every token; raises Unreadable outside the caps or for anything unknown."""
    if len(text) > MAX_CHARS:
        raise Unreadable(f"more than {MAX_CHARS} characters")
    text = _PLAIN.sub(r"\\\1 ", text.replace("**", "^"))
    tokens: list[tuple[str, str]] = []
    position = depth = 0
    while position < len(text):
        read = _TOKEN.match(text, position)
        if read is None:
            raise Unreadable(f"{text[position : position + 10]!r} is not known")
        if kind := read.lastgroup:
            token = _SPELLINGS.get(read[kind], read[kind])
            if "circ" in token:
                token = "\u00b0"
            elif token == "|":
                kind = "sign"
            else:
                depth += (token in _CLOSING) - (token in _CLOSING.values())
            tokens.append((kind, token))
        position = read.end()
        large = depth > MAX_NESTING or len(tokens) > MAX_TOKENS
        if large or (read["number"] and len(read[0]) > MAX_DIGITS):
            raise Unreadable("too large")
    return tokens


class _Reader:
    """Reads tokens by recursive descent."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = [*tokens, ("", "")]
        self.position = self.bars = 0

    def look(self) -> str:
        return self.tokens[self.position][1]

    def kind(self) -> str:
        return self.tokens[self.position][0]

    def take(self, *wanted: str) -> str:
        """The next token's text when it is one of these signs or commands, else ""."""
        if self.kind() in ("sign", "command") and self.look() in wanted:
            self.position += 1
            return self.tokens[self.position - 1][1]
        return ""

    def need(self, wanted: str) -> None:
        if not self.take(wanted):
            raise Unreadable(f"{self.look()!r} stands where {wanted!r} is expected")

    def sum(self) -> Tree:
        value = self.product()
        while sign := self.take("+", "-"):
            value = (sign, value, self.product())
        return value

    def chosen(self) -> Tree:
        value = self.sum()
        return ("binomial", value, self.sum()) if self.take("choose") else value

    def product(self) -> Tree:
        value = self.factor()
        while True:
            if self.take("*"):
                value = ("*", value, self.factor())
            elif self.take("/", "div"):
                value = ("/", value, self.factor())
            elif self.take("bmod"):
                value = ("mod", value, self.factor())
            elif self.starts_factor():
                value = ("*", value, self.power())
            else:
                return value

    def starts_factor(self, functions: bool = True) -> bool:
        """Whether what follows multiplies without a sign."""
        kind, text = self.kind(), self.look()
        if kind == "function":
            return functions
        if text == "|":
            return not self.bars
        return kind == "variable" or (kind in ("sign", "command") and text in _FACTORS)

    def factor(self) -> Tree:
        if self.take("-"):
            return ("negative", self.factor())
        if self.take("+"):
            return self.factor()
        return self.power()

    def power(self) -> Tree:
        base = self.atom()
        while sign := self.take("!", "!!", "\u00b0"):
            base = ("*", base, _DEGREE) if sign == "\u00b0" else (sign, base)
        return ("^", base, self.exponent()) if self.take("^") else base

    def exponent(self) -> Tree:
        return ("negative", self.exponent()) if self.take("-") else self.power()

    def atom(self) -> Tree:
        kind, text = self.kind(), self.look()
        if kind in ("number", "variable", "function"):
            self.position += 1
        if kind == "number":
            return ("number", Fraction(text))
        if kind == "variable":
            return _named(text)
        if kind == "function":
            return self.function(text)
        if self.take("pi"):
            return ("pi",)
        if command := self.take("frac", "binom"):
            top = self.atom()
            return ("/" if command == "frac" else "binomial", top, self.atom())
        if self.take("sqrt"):
            degree = self.group() if self.look() == "[" else ("number", Fraction(2))
            return ("root", self.atom(), degree)
        if name := self.take(*_OF_SEVERAL):
            return (name, *self.several())
        if command := self.take(*_SUMS):
            return self.summed(_SUMS[command])
        return self.group()

    def group(self) -> Tree:
        opening = self.take(*_CLOSING)
        if not opening:
            raise Unreadable(f"{self.look()!r} is not expected")
        bars, self.bars = self.bars, opening == "|"
        value = self.chosen() if opening == "{" else self.sum()
        self.bars = bars
        self.need(_CLOSING[opening])
        return (_MEANING[opening], value) if opening in _MEANING else value

    def several(self) -> list[Tree]:
        opening = self.take("(", "{", "\\{", "[")
        bars, self.bars = self.bars, 0
        values = [self.sum()]
        while self.take(","):
            values.append(self.sum())
        self.bars = bars
        self.need(_CLOSING.get(opening, "("))
        return values

    def summed(self, name: str) -> Tree:
        """A sum or product with its index, ends and terms, as in ``\\sum_{k=1}^{n} k^2``."""
        for sign in ("_", "{"):
            self.need(sign)
        index = self.atom()
        self.need("=")
        start = self.sum()
        for sign in ("}", "^"):
            self.need(sign)
        end = self.atom()
        return (name, index, start, end, self.product())

    def function(self, name: str) -> Tree:
        base = self.atom() if name == "log" and self.take("_") else None
        exponent = self.exponent() if self.take("^") else None
        value = self.operand()
        if exponent == ("negative", ("number", Fraction(1))) and name in _INVERSES:
            return (_INVERSES[name], value)
        result: Tree = (_FUNCTIONS[name], value)
        if base is not None:
            result = ("/", ("ln", value), ("ln", base))
        return result if exponent is None else ("^", result, exponent)

    def operand(self) -> Tree:
        """What a function is applied to: a group, or all that multiplies without a sign, as in sin
        2x cos x.
        """
        if self.take("-"):
            return ("negative", self.operand())
        if self.kind() == "function":
            return self.atom()
        grouped = self.look() in _CLOSING
        value = self.power()
        while not grouped and self.starts_factor(functions=False):
            value = ("*", value, self.power())
        return value


def _named(name: str) -> Tree:
    """A variable; e and i are what they usually are."""
    if name in ("e", "i"):
        return (name,)
    return ("variable", name.replace("{", "").replace("}", "").replace("\\", ""))
