"""Answers as models and data sets write them, brought to plain LaTeX: one spelling for each
thing.
"""

import re
import unicodedata

from .units import MONEY

_NAMES = "times div cdot cdot pi infty le ge ne pm cup in approx theta alpha beta lambda"

_DIGIT = re.compile(r"(?![0-9])\d")
_VULGAR = re.compile("[\u00bc-\u00be\u2150-\u215e]")
_SUPERSCRIPT = re.compile("[\u207b\u207a]?[\u00b2\u00b3\u00b9\u2070\u2074-\u2079]+")
_SUBSCRIPT = re.compile("[\u2080-\u2089]+")
_SCRIPT_DIGITS = str.maketrans(
    "\u207b\u207a\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079", "-+0123456789"
)
_ROOT = re.compile(r"\u221a\s*(\d+|[A-Za-z]|(?=[({]))")
_SYMBOLS = dict(
    zip(
        "\u2212\u2013\u00d7\u00f7\u00b7\u22c5\u03c0\u221e\u2264\u2265\u2260\u00b1"
        "\u222a\u2208\u2248\u03b8\u03b1\u03b2\u03bb",
        ("-", "-", *(f"\\{name} " for name in _NAMES.split())),
        strict=True,
    )
)
_REWRITES = [
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r",\\!\s*", ","),
        (r"(?<![\d.,}])(0\d*)\{,\}(?=\d)", r"\1."),
        (r"(?<=\d)\{,\}(?=\d{3}(?!\d))", ""),
        (r"(?<![\d.,}])(\d+)\{,\}(?=\d+(?![\d.,{]))", r"\1."),
        (
            r"(?:\^\s*(?:\{\s*\\circ\s*\}|\\circ)|\u00b0)\s*(?:\\(?:text"
            r"|mathrm)\s*\{\s*([CF])\s*\}|([CF])(?![A-Za-z]))",
            "\u00b0\\1\\2",
        ),
        (r"(?<![\\^_A-Za-z}])\{([-+:=<>])\}", r"\1"),
        (r"(?<![\\^_A-Za-z}\]])\{(\d+)\}\s*/\s*\{(\d+)\}", r"\1/\2"),
        (r"\\(?:left|right|displaystyle|textstyle|[bB]ig[glr]?|limits)(?![a-z])", ""),
        (r"\\[dtc]frac(?![a-z])", r"\\frac"),
        (r"\\frac\s*(\d)(?=\s*[\d{])", r"\\frac{\1}"),
        (r"(\\frac\s*\{[^{}]*\})\s*(\d)", r"\1{\2}"),
        (r"\\sqrt\s*(\d)", r"\\sqrt{\1}"),
        (r"\\(le|ge|ne)q(?:slant)?(?![a-z])", r"\\\1"),
        (
            r"\\(?:text)?color\s*\{[^{}]*\}|\\(?:tiny|small|normalsize|[lL]arge|LARGE|[hH]uge|bf"
            r"|it|rm)(?![A-Za-z])",
            "",
        ),
        (r"[(\[]\s*\\begin\{array\}\s*\{[^{}]*\}", r"\\begin{pmatrix}"),
        (r"\\end\{array\}\s*[)\]]", r"\\end{pmatrix}"),
        (r"(?<!\\)\\\s*\Z", ""),
        (r"(?<!\\)\\[\[\]()]", ""),
        (r"(?<!\\)\\[,;:! ]|~|\\q?quad(?![a-z])", " "),
        (r"\\lbrace(?![a-z])", r"\\{"),
        (r"\\rbrace(?![a-z])", r"\\}"),
        (r"\\degree(?![a-z])", "\u00b0"),
        (r"\\(?:langle(?![a-z]))|\u27e8|\u2329", "("),
        (r"\\(?:rangle(?![a-z]))|\u27e9|\u232a", ")"),
        (
            r"\\(?:mathbb|Bbb)\s*\{?\s*([A-Z])(?![A-Za-z])\s*\}?|\\([RZNQC])(?![A-Za-z])",
            r"\\mathbb{\1\2}",
        ),
        (r"(\\mathbb\{R\})\s*(?:-|\\smallsetminus)\s*(?=\\\{)", r"\1\\setminus "),
        (r"\\(?:varnothing|emptyset)(?![a-z])|\u2205", r"\\{\\}"),
        (r"\\bigcup(?![a-z])", r"\\cup"),
        (r"\\colon(?![a-z])", ":"),
        (r"\\lt(?![a-z])", "<"),
        (r"\\gt(?![a-z])", ">"),
        (r"(?<![\w)*])\*\*(?=\S)([^*\n]+)\*\*(?![\w(*])", r"\1"),
        (r"<=", r"\\le "),
        (r">=", r"\\ge "),
        (r"(?<!\d)!=", r"\\ne "),
        (
            r"\{([^{}]*)\\over(?![a-z])([^{}]*)\}|\A([^{}]*)\\over(?![a-z])([^{}]*)\Z",
            r"\\frac{\1\3}{\2\4}",
        ),
    )
]
_QUOTES = ('""', "\u201c\u201d", "''", "\u2018\u2019")
_FONT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf)?|math(?:rm|bf|it|sf|normal)|operatorname|mbox|hbox|bm|boldsymbol"
    r"|emph|f?boxed|fbox)"
    r"\s*\{((?:[^{}]|\{[^{}]*+\})*+)\}"
)
_INTEGER = re.compile(
    r"[,;]?\s*(?:(?:where|for|with)\s+)?(?:(?:any|all|every|each|some|an)\s+)*integers?\s+([a-z])\Z"
    r"|[,;]?\s*(?:(?:where|for|with)\s+)?([a-z])\s+(?:is\s+)?(?:an|any)\s+integer\Z"
)
_FOR_ALL = re.compile(
    r",?\s*(?:for\s+(?:all|any|every|each)"
    r"|\\forall)\s*(?:reals?\s+(?:numbers?\s+)?)?[a-z](?:\s*\\in\s*\\mathbb\{R\})?\Z"
)
_REVERSED = re.compile(r"(?:\A|\\cup|\\in(?![a-z])|=)\s*\]|\[\s*(?:\Z|\\cup)")
_INTERVAL = re.compile(r"([\[\]])([^\[\](),;]+)[,;]([^\[\](),;]+)([\[\]])")
_THOUSANDS = re.compile(r"-?\d{1,3}(?:,\d{3})+(?=\s*\\(?:pi|sqrt)(?![a-z]))")


def clean(text: str) -> str:
    """Plain LaTeX: no formula borders, fonts, spacing commands or markdown around it; Unicode maths
    spelled out.
    """
    text = _DIGIT.sub(lambda m: str(int(m[0])), text)
    text = _VULGAR.sub(_vulgar, text)
    text = _SUPERSCRIPT.sub(lambda m: "^{" + m[0].translate(_SCRIPT_DIGITS) + "}", text)
    text = _SUBSCRIPT.sub(lambda m: "_{" + unicodedata.normalize("NFKC", m[0]) + "}", text)
    text = _ROOT.sub(lambda m: f"\\sqrt{{{m[1]}}}" if m[1] else "\\sqrt", text)
    for character, command in _SYMBOLS.items():
        text = text.replace(character, command)
    text = text.replace("\\$", MONEY).replace("\\%", "%")
    for pattern, instead in _REWRITES:
        text = pattern.sub(instead, text)
    for _ in range(3):
        text = _FONT.sub(r" \1 ", text)
    if text.count("$") != 1:
        text = text.replace("$", "")
    text = bare(text)
    if "integer" in text:
        text = _INTEGER.sub(r", \1\2 \\in \\mathbb{Z}", text)
    if "for" in text:
        text = _FOR_ALL.sub("", text)
    if ("]" in text or "[" in text) and _REVERSED.search(text):
        text = _INTERVAL.sub(_turned, text)
    thousands = _THOUSANDS.match(text)
    return thousands[0].replace(",", "") + text[thousands.end() :] if thousands else text


def _turned(interval: re.Match[str]) -> str:
    """An interval with its ends excluded by turned brackets, as in ``[2,5[``, in round ones."""
    opening, closing = ("[" if interval[1] == "[" else "("), ("]" if interval[4] == "]" else ")")
    return f"{opening}{interval[2]},{interval[3]}{closing}"


def bare(text: str) -> str:
    """The text without the punctuation, markdown and braces around it."""
    before = None
    while text != before:
        before = text
        text = (
            text.strip()
            .strip("`*_;,")
            .rstrip("\u3002\u2713\u2714\u2705\ufe0f")
            .strip()
            .lstrip("=:")
            .strip()
        )
        text = text[:-1] if text.endswith(".") and not text.endswith("..") else text
        if (
            len(text) > 2
            and text[0] + text[-1] in _QUOTES
            and not set(text[1:-1]) & set(text[0] + text[-1])
        ):
            text = text[1:-1]
        if text.startswith("{") and text.endswith("}") and closes_at_end(text):
            text = text[1:-1]
    return text


def canonical(text: str) -> str:
    """The text without whitespace, but for one space where it parts two letters or digits."""
    parted = re.sub(r"(?<=[A-Za-z0-9])\s+(?=[A-Za-z0-9])", "\ue001", text)
    return re.sub(
        r"([\^_])\{(\w)\}(?!\d)", r"\1\2", re.sub(r"\s+", "", parted).replace("\ue001", " ")
    )


def closes_at_end(text: str) -> bool:
    """Whether the bracket that the text opens with is closed by its last character, and not
    before.
    """
    depth = 0
    for i, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth <= 0:
            return i == len(text) - 1
    return False


def _vulgar(fraction: re.Match[str]) -> str:
    top, _, bottom = unicodedata.normalize("NFKC", fraction[0]).partition("\u2044")
    return f" \\frac{{{top}}}{{{bottom}}} "
