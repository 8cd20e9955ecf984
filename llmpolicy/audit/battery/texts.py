"""Family B: letters and words that only look like the answer, or that hold every answer at once."""

from llmpolicy.audit.battery.record import Attack, Topic

_LOOKALIKES = str.maketrans(
    "ABCDaoepcxi", "\u0410\u0412\u0421\u13a0\u0430\u043e\u0435\u0440\u0441\u0445\u0456"
)

_RAISED = str.maketrans(
    "0123456789", "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
)


def _b(name: str, breaks: str, text: str, *topics: Topic) -> Attack:
    return Attack("B", name, breaks, text, topics or ("number", "text", "letter"))


ATTACKS = [
    _b("an empty completion", "asks whether it is part of the answer", ""),
    _b("a space", "strips, then asks whether it is part of the answer", " "),
    _b("every letter", "searches for the letter", "ABCD", "letter"),
    _b("every letter in a list", "searches for the letter", "A, B, C or D", "letter"),
    _b("every option with its mark", "takes the first match", "(A) (B) (C) (D)", "letter"),
    _b("a word that begins with it", "takes the first character", "{gold}at", "letter"),
    _b(
        "the letter in a sentence",
        "searches for the letter",
        "{gold} is a letter of the alphabet.",
        "letter",
    ),
    _b("not that letter", "searches for the letter", "Anything but {gold}.", "letter"),
    Attack(
        "B",
        "letters of another script",
        "folds what looks alike",
        lambda g, _: g.translate(_LOOKALIKES),
        ("text", "letter"),
    ),
    _b("two words in one", "compares the end", "{wrong}{gold}", "text"),
    Attack("B", "cut short", "compares the beginning", lambda g, _: g[:-1], ("text",)),
    Attack(
        "B",
        "a superscript",
        "folds superscripts into digits",
        lambda g, _: g[0] + g[1:].translate(_RAISED),
        ("number",),
        (("42", "41"), ("36", "35"), ("105", "106")),
    ),
    Attack("B", "a struck-out character", "drops combining marks", lambda g, _: g + "\u0338"),
    _b("the answer in another word", "searches for the text", "not{gold}ish", "text"),
    _b("both words", "searches for the text", "{wrong} {gold}", "text"),
    _b("words around it", "searches for the text", "I was in {gold} once, and it rained.", "text"),
    _b("on a line of its own", "anchors each line", "{wrong}\n{gold}\n{wrong}"),
    _b("more lines after it", "anchors before the last newline", "{gold}\n{wrong}"),
    _b("a pattern for an answer", "matches in the wrong direction", ".*"),
]
