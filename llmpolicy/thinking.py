"""The marks that models write around their thinking, of all families: where a thought begins, and
where it ends.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

FAMILIES: dict[str, tuple[str, str]] = {
    "DeepSeek, Qwen, GLM, Phi, Nemotron, MiniMax": ("<think>", "</think>"),
    "Magistral": ("[THINK]", "[/THINK]"),
    "Kimi": ("◁think▷", "◁/think▷"),
    "gpt-oss": (
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
    ),
    "Gemma": ("<|channel>thought\n", "<channel|>"),
    "Seed-OSS": ("<seed:think>", "</seed:think>"),
    "Command": ("<|START_THINKING|>", "<|END_THINKING|>"),
    "Sky-T1": ("<|begin_of_thought|>", "<|end_of_thought|>"),
    "Apertus": ("<|inner_prefix|>", "<|inner_suffix|>"),
    "LongCat": ("<longcat_think>", "</longcat_think>"),
    "EXAONE": ("<thought>", "</thought>"),
    "Reflection": ("<thinking>", "</thinking>"),
    "Granite": ("Here is my thought process:", "Here is my response:"),
    "ERNIE": ("<analysis>", "</analysis>"),
    "Ling": ("<scratch_pad>", "</scratch_pad>"),
    "s1": ("<|im_start|>think\n", "<|im_start|>answer\n"),
    "Solar": ("<|think|>", "<|end|><|begin|>assistant<|content|>"),
    "channels without their tokens": ("analysis", "assistantfinal"),
}
"""How each family opens and closes a thought."""

Pairs = tuple[tuple[str, str], ...]
Role = Literal["open", "close", "answer", "call", "turn", "odd"]

_NAMES = """think thinking thought thoughts reasoning reason reflection scratchpad analysis monologue rationale cot inner
deliberation rethink deepthink antthinking chainofthought 思考 思考过程 思维 思维链 推理 推理过程"""
_OTHER_NAMES = "answer final solution response result output budget no never"
_ENDING, _BEGINNING = "end stop suffix close", "begin start prefix open of"
_WORDS, _OTHERS = frozenset(_NAMES.split()), frozenset(_OTHER_NAMES.split())
_CLOSING = frozenset(_ENDING.split())
_SIDES = _CLOSING.union(_BEGINNING.split())

# What may stand for < > [ ] / | _ in a mark, character by character.
_ANGLES, _SQUARES = "〈〉⟨⟩‹›«»《》❮❯❬❭❰❱⧼⧽＜＞﹤﹥˂˃ᐸᐳ⟪⟫", "［］【】〔〕⟦⟧﹝﹞"
_LOOKS = {
    **{ord(mark): "<>"[place % 2] for place, mark in enumerate(_ANGLES)},
    **{ord(mark): "[]"[place % 2] for place, mark in enumerate(_SQUARES)},
    **dict.fromkeys(map(ord, "／⁄∕⧸╱"), "/"),
    **dict.fromkeys(map(ord, "｜│∣￨❘"), "|"),
    ord("▁"): "_",
}
_LOOKALIKE = re.compile(f"[{re.escape(''.join(map(chr, _LOOKS)))}]")
_QUOTING = frozenset("«《【〔")
"""Brackets of words of any kind: around them only "think" is a mark."""

_LETTERS = str.maketrans("аеорсухікһтнѕԁνικοτηα", "aeopcyxikhthsdvikotna")
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)
_PLAIN = re.compile(
    r"<\|?/?[^\W\d][\w:.-]*(?:\s[^<>]*=[^<>]*)?\|?>|◁/?\w+▷|\[/?\w+\]|<\|.*|<channel\|>", re.DOTALL
)
_LT, _GT = r"(?:amp;)?(?:lt|#0*60|#x0*3c);", r"&(?:amp;)?(?:gt|#0*62|#x0*3e);"
_SLASHED, _NAMED = r"\s{0,20}\\?(?P<slash>/?)\s{0,20}", r"(?P<name>[^\W\d][\w:.-]{0,60})"
_REST = r"(?:\s*|\s+[\w:-]+\s*=[^<>]{0,200}?)\\?(?P<itself>/?)"
_TOKEN = (
    r"(?:end\|>\s*<\|)?(?:start\|>\s*assistant\b(?P<begins>\s*to=\S+?)?\s*<\|)?"
    r"channel\|>\s*(?P<channel>[\w.-]*)(?P<to>\s+to=)?(?:[^<>]{0,80}?(?:<\|constrain\|>\s*\w*\s*)?<\|message\|>)?"
    r"|channel>\s*(?P<gemma>\w*)|(?P<turn>end|return|call|start|im_end)\|>(?:<\|begin\|>assistant<\|content\|>)?"
    r"|(?P<im>im_start)\|>(?P<as>\w*)|\s*(?P<token_slash>/?)(?P<token>[^\W\d][\w:.-]{0,60})\s*\|>"
)
_TAG = rf"{_SLASHED}{_NAMED}{_REST}(?:>|{_GT})"
# A character that stands first in each alternative is found fast.
_MARKS = (
    rf"<(?i:\|(?:{_TOKEN})|(?P<gemma_ends>channel\|>)|{_TAG}|(?P<cut_slash>/?)(?P<cut>think(?:ing)?)(?=\s*(?:\n|\Z)))"
    rf"|◁(?P<kimi_slash>/?)(?P<kimi>\w+)▷|&(?i:{_LT}{_TAG.replace('(?P<', '(?P<amp_')})"
    r"|\[\s{0,20}(?P<square_slash>/?)\s{0,20}(?P<square>(?i:think(?:ing)?))\s*\](?!\()"
)
_WORDED = (
    (
        re.compile(r"\s*\**Here(?:'s| is) my thought process:", re.I),
        re.compile(r"Here(?:'s| is) my response:\**", re.I),
    ),
    (re.compile(r"\s*analysis(?=[A-Z]|[\s\S]*?assistantfinal)"), re.compile(r"assistantfinal")),
)
"""Thoughts that begin a reply in words, not in marks: Granite's, and those of channels whose
special tokens are gone.
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """A mark: where it stands, the kind of thought that it belongs to, and what it does."""

    start: int
    end: int
    key: str
    role: Role
    plain: bool = True
    """Whether it is written as its family writes it, without look-alike characters, blanks or
    entities.
    """

    def closes(self, opened: "Mark") -> bool:
        """Whether it ends the thought that another has begun; what only looks like the end of a
        plain one does not.
        """
        if opened.key in ("channel", "im"):
            return self.key == opened.key and self.role != "open"
        if opened.key[0] == "|" and self.role == "turn" and self.key == "channel":
            return True
        return self.role == "close" and self.key == opened.key and (self.plain or not opened.plain)

    @property
    def is_common(self) -> bool:
        """Whether its name is also one of other things, which programs and mark-up write in quotes
        or code blocks.
        """
        return self.key[0] == "<" and not any(
            word in self.key for word in ("think", "thought", "scratchpad", "monologue")
        )

    def begins_again(self, opened: "Mark") -> bool:
        """Whether it opens within a thought one of the same kind; channels only go on."""
        return self.role == "open" and self.key == opened.key and self.key not in ("channel", "im")


def marks(text: str, own: Pairs = ()) -> Iterator[Mark]:
    """The marks in a reply, in order: of the families, and of one's own pairs."""
    start = 0
    for opens, ends in _WORDED if begins_in_words(text) else ():
        if begun := opens.match(text):
            yield Mark(0, begun.end(), opens.pattern, "open")
            ended = ends.search(text, begun.end())
            if ended is None:
                return
            start = ended.end()
            yield Mark(ended.start(), start, opens.pattern, "close")
    yield from marks_behind(text, start, own)


def begins_in_words(text: str) -> bool:
    """Whether a reply can begin with a thought that is opened in words, not by a mark."""
    return text[:1] in "aH* \n\t" and text[:40].lstrip("* \n\t").startswith(("analysis", "Here"))


def marks_behind(text: str, start: int = 0, own: Pairs = ()) -> Iterator[Mark]:
    """The marks behind a place in a text that need not be the beginning of a reply, in order."""
    seen, places = _as_seen(text[start:])
    for at in _finder(own).finditer(seen):
        first, last = at.span()
        before = seen[first - 1] if first else ""
        first -= before == "\\"
        if places is not None:
            first, last = places[first], places[last - 1] + 1
        kind = _kind(at[0], text[start + first : start + last], own, before)
        if kind is not None:
            yield Mark(start + first, start + last, *kind)


def may_hold_marks(text: str, own: Pairs = ()) -> bool:
    """Whether a text can have a mark in it, found much faster than the marks themselves."""
    return (
        "<" in text
        or ("[" in text and ("HINK" in text or "hink" in text))
        or "&" in text
        or not text.isascii()
        or (bool(own) and any(mark in text for pair in own for mark in pair))
    )


def side(name: str, *, closes: bool = False) -> tuple[str, bool] | None:
    """What thought the name in a mark belongs to, and whether it ends it; None for a name of
    something else.
    """
    name = name if name.isascii() else unicodedata.normalize("NFKC", name).translate(_LETTERS)
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).casefold()
    parts = [part.strip("0123456789") for part in re.split(r"[\W_]+", words)]
    key = "".join(part for part in parts if part not in _SIDES)
    if _OTHERS.intersection(parts) or not (key in _WORDS or _WORDS.intersection(parts)):
        return None
    return key, closes or bool(_CLOSING.intersection(parts))


@lru_cache(maxsize=64)
def _finder(own: Pairs) -> re.Pattern[str]:
    return re.compile(
        "".join(f"{re.escape(_as_seen(mark)[0])}|" for pair in own for mark in pair) + _MARKS
    )


def _as_seen(text: str) -> tuple[str, list[int] | None]:
    """The text as a reader sees its brackets, and the place of each character where some are left
    out.
    """
    if text.isascii():
        return text, None
    places = None
    if _UNSEEN.search(text):
        places = [place for place, character in enumerate(text) if not _UNSEEN.match(character)]
        text = _UNSEEN.sub("", text)
    return (text.translate(_LOOKS) if _LOOKALIKE.search(text) else text), places


@lru_cache(maxsize=4096)
def _kind(seen: str, written: str, own: Pairs, before: str) -> tuple[str, Role, bool] | None:
    """Key, role and plainness of what the finder found; None for what is no mark of thinking."""
    for place, (opens, ends) in enumerate(own):
        if seen in (_as_seen(opens)[0], _as_seen(ends)[0]):
            return f"own{place}", "open" if seen == _as_seen(opens)[0] else "close", True
    at = _finder(()).match(seen + "\n")
    if at is None:
        return None
    names = at.groupdict()
    for prefix, sign in (
        ("amp_", "<"),
        ("", "<"),
        ("cut", "<"),
        ("kimi", "◁"),
        ("token", "|"),
        ("square", "["),
    ):
        name = names[f"{prefix}name"] if prefix in ("", "amp_") else names[prefix]
        if name:
            slash = names[
                f"{prefix}_slash" if names.get(f"{prefix}_slash") is not None else f"{prefix}slash"
            ]
            itself = names["itself"] or names["amp_itself"]
            return _tag(sign, name, bool(slash), bool(itself), written, before)
    return _token(names)


def _tag(
    sign: str, name: str, slash: bool, itself: bool, written: str, before: str
) -> tuple[str, Role, bool] | None:
    found = side(name, closes=slash)
    quoting = written[:1] in _QUOTING and (found is None or found[0] not in ("think", "thinking"))
    # Array<Analysis> is a type.
    typed = (
        name[0].isupper()
        and not name.isupper()
        and not slash
        and (before.isalnum() or before == "_")
    )
    if found is None or quoting or typed or (found[0] == "inner" and sign != "|"):
        return None
    plain = _PLAIN.fullmatch(written) is not None and (name.isascii() or name in _WORDS)
    return sign + found[0], "odd" if itself else "close" if found[1] else "open", plain


def _token(names: Mapping[str, str | None]) -> tuple[str, Role, bool] | None:
    if names["gemma"] is not None or names["gemma_ends"]:
        return "channel>", "close" if names["gemma_ends"] else "open", True
    if names["im"] or names["turn"] == "im_end":
        return "im", "open" if side(names["as"] or "") else "turn", True
    if names["turn"]:
        return "channel", "turn", True
    if names["to"] or names["begins"]:
        return "channel", "call", True
    return (
        "channel",
        "answer" if (names["channel"] or "").lower() in ("final", "commentary") else "open",
        True,
    )
