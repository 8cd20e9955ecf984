"""Which scripts a language is written in, and how many letters of a text are of them."""

from collections.abc import Mapping

from .regex import compiled, encodable

SCRIPTS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(
        ("de", "en", "es", "fr", "id", "it", "nl", "pl", "pt", "sv", "tr", "vi"), ("Latin",)
    ),
    **dict.fromkeys(("be", "bg", "mk", "ru", "sr", "uk"), ("Cyrillic",)),
    **dict.fromkeys(("ar", "fa", "ur"), ("Arabic",)),
    **dict.fromkeys(("hi", "mr", "ne"), ("Devanagari",)),
    "am": ("Ethiopic",),
    "bn": ("Bengali",),
    "el": ("Greek",),
    "gu": ("Gujarati",),
    "he": ("Hebrew",),
    "hy": ("Armenian",),
    "ja": ("Han", "Hiragana", "Katakana"),
    "ka": ("Georgian",),
    "km": ("Khmer",),
    "kn": ("Kannada",),
    "ko": ("Hangul",),
    "ml": ("Malayalam",),
    "my": ("Myanmar",),
    "ta": ("Tamil",),
    "te": ("Telugu",),
    "th": ("Thai",),
    "zh": ("Han",),
}
"""The scripts that a language is written in."""

# Each is linear: an opening without its end takes the rest of the text, so that nothing is tried
# again.
_EXCLUDED = (
    r"(?s)```.*?(?:```|\z)|~~~.*?(?:~~~|\z)|`[^`\n]*`"
    r"|\$\$.*?(?:\$\$|\z)|\$[^$\n]+\$|\\\[.*?(?:\\\]|\z)|\\\(.*?(?:\\\)|\z)"
    r"|\\begin\{.*?(?:\\end\{[^}\n]*\}|\z)|\\[A-Za-z]+"
    r"|\]\([^)\n]*\)|https?://\S+|www\.\S+|<[^<>\n]{1,200}>"
)


def in_scripts(text: str, language: str) -> tuple[int, int]:
    """How many letters of a text are of the language's scripts, and how many any script owns.

    Code, mathematics, links and tags do not count.
    """
    text = compiled(_EXCLUDED, "language:script").sub(" ", encodable(text))
    letters = "".join(filter(str.isalpha, text))
    # Letters that no script owns, such as the long vowel mark of Japanese, are neither.
    total = len(letters) - _count(r"[\p{Common}\p{Inherited}]", letters)
    scripts = "".join(rf"\p{{{name}}}" for name in SCRIPTS[language])
    return _count(f"[{scripts}]", letters), total


def _count(pattern: str, text: str) -> int:
    return len(compiled(pattern, "language:script").findall(text))
