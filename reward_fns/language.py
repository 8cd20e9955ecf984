"""Language, as far as the script tells it: the share of letters that belong to the scripts of a
language.
"""

from collections.abc import Mapping

from llmpolicy.errors import nearest
from llmpolicy.rewards import RewardError, Score, reward

from ._text.completion import NoAnswer, ThinkingMarks, final_text, normalise
from ._text.regex import compiled, encodable

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
    r"|\$\$.*?(?:\$\$|\z)|\$[^$\n]+\$|\\\[.*?(?:\\\]|\z)|\\\(.*?(?:\\\)|\z)|\\begin\{.*?(?:\\end\{[^}\n]*\}|\z)|\\[A-Za-z]+"
    r"|\]\([^)\n]*\)|https?://\S+|www\.\S+|<[^<>\n]{1,200}>"
)


@reward(
    passes=[
        {"completion": "Es ist 5 Uhr.", "language": "de"},
        {"completion": "Пять: $x = five$ `code`", "language": "ru"},
    ],
    fails=[
        {"completion": "It is five.", "language": "ru"},
        {"completion": "`пять` https://пять.рф $пять$ 5", "language": "ru"},
    ],
    range=(0, 1),
    kind="style",
)
def script(
    completion: str,
    language: str,
    prompt: str = "",
    think: bool = True,
    thinking_marks: ThinkingMarks = (),
) -> Score:
    """The share of letters that are of the language's scripts; 0.0 for a text without letters.

    Code, mathematics, links and tags do not count. The script is all that is looked at: English and
    German are one, and nothing says that the words mean anything. ``think`` counts the reasoning
    too. RewardError for an unknown language.
    """
    if language not in SCRIPTS:
        raise RewardError(
            f"language:script got the language {language!r}{nearest(str(language), SCRIPTS)}"
        )
    try:
        text = normalise(completion) if think else final_text(completion, prompt, thinking_marks)
    except NoAnswer as reason:
        return Score(0.0, why=str(reason))
    text = compiled(_EXCLUDED, "language:script").sub(" ", encodable(text))
    letters = "".join(filter(str.isalpha, text))
    # Letters that no script owns, such as the long vowel mark of Japanese, are neither.
    total = len(letters) - _count(r"[\p{Common}\p{Inherited}]", letters)
    if total <= 0:
        return Score(0.0, why="no letters")
    scripts = "".join(rf"\p{{{name}}}" for name in SCRIPTS[language])
    count = _count(f"[{scripts}]", letters)
    return Score(count / total, why=f"{count} of {total} letters")


def _count(pattern: str, text: str) -> int:
    return len(compiled(pattern, "language:script").findall(text))
