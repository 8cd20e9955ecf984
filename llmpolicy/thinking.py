"""The marks that models write around their thinking, of all families: where a thought begins, and
where it ends.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, cycle, filterfalse
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
Kind = tuple[str, Role, bool]
"""The key of a mark, what it does, and whether it is written plainly."""

_NAMES = """think thinking thought thoughts reasoning reason reflection scratchpad analysis
monologue rationale cot inner deliberation rethink deepthink antthinking chainofthought
思考 思考过程 思维 思维链 推理 推理过程"""
_OTHER_NAMES = "answer final solution response result output budget no never"
_ENDING, _BEGINNING = "end stop suffix close", "begin start prefix open of"
_WORDS, _OTHERS = frozenset(_NAMES.split()), frozenset(_OTHER_NAMES.split())
_CLOSING = frozenset(_ENDING.split())
_SIDES = _CLOSING.union(_BEGINNING.split())

# What may stand for < > [ ] / | _ in a mark, character by character.
_ANGLES, _SQUARES = "〈〉⟨⟩‹›«»《》❮❯❬❭❰❱⧼⧽＜＞﹤﹥˂˃ᐸᐳ⟪⟫", "［］【】〔〕⟦⟧﹝﹞"
_LOOKS = {
    **dict(zip(map(ord, _ANGLES), cycle("<>"), strict=False)),
    **dict(zip(map(ord, _SQUARES), cycle("[]"), strict=False)),
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
_NAMED_MARKS = (
    ("amp_name", "amp_slash", "<"),
    ("name", "slash", "<"),
    ("cut", "cut_slash", "<"),
    ("kimi", "kimi_slash", "◁"),
    ("token", "token_slash", "|"),
    ("square", "square_slash", "["),
)
"""The groups of a mark with a name, its slash, and the sign that it begins with."""
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


_OF_THINKING = re.compile("think|thought|scratchpad|monologue")


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
        return self.key[0] == "<" and not _OF_THINKING.search(self.key)

    def begins_again(self, opened: "Mark") -> bool:
        """Whether it opens within a thought one of the same kind; channels only go on."""
        return self.role == "open" and self.key == opened.key and self.key not in ("channel", "im")


def marks(text: str, own: Pairs = ()) -> Iterator[Mark]:
    """The marks in a reply, in order: of the families, and of one's own pairs."""
    start, worded = 0, _WORDED if begins_in_words(text) else ()
    for opens, ends in worded:
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
    seen, indices = _as_seen(text[start:])
    for match in _finder(own).finditer(seen):
        begin, end = match.span()
        before = seen[begin - 1 : begin]
        begin -= before == "\\"
        if indices is not None:
            begin, end = indices[begin], indices[end - 1] + 1
        kind = _kind(match[0], text[start + begin : start + end], own, before)
        if kind is not None:
            yield Mark(start + begin, start + end, *kind)


def may_hold_marks(text: str, own: Pairs = ()) -> bool:
    """Whether a text can have a mark in it, found much faster than the marks themselves."""
    return (
        "<" in text
        or ("[" in text and ("HINK" in text or "hink" in text))
        or "&" in text
        or not text.isascii()
        or any(mark in text for mark in chain.from_iterable(own))
    )


def side(name: str, *, closes: bool = False) -> tuple[str, bool] | None:
    """What thought the name in a mark belongs to, and whether it ends it; None for a name of
    something else.
    """
    name = name if name.isascii() else unicodedata.normalize("NFKC", name).translate(_LETTERS)
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).casefold()
    parts = [part.strip("0123456789") for part in re.split(r"[\W_]+", words)]
    key = "".join(filterfalse(_SIDES.__contains__, parts))
    if _OTHERS.intersection(parts) or not (key in _WORDS or _WORDS.intersection(parts)):
        return None
    return key, closes or bool(_CLOSING.intersection(parts))


@lru_cache(maxsize=64)
def _finder(own: Pairs) -> re.Pattern[str]:
    written = [re.escape(_as_seen(mark)[0]) for mark in chain.from_iterable(own)]
    return re.compile("|".join([*written, _MARKS]))


def _as_seen(text: str) -> tuple[str, list[int] | None]:
    """The text as a reader sees its brackets, and the place of each character where some are left
    out.
    """
    if text.isascii():
        return text, None
    indices = None
    if _UNSEEN.search(text):
        indices = [index for index, sign in enumerate(text) if not _UNSEEN.match(sign)]
        text = _UNSEEN.sub("", text)
    if _LOOKALIKE.search(text):
        text = text.translate(_LOOKS)
    return text, indices


@lru_cache(maxsize=4096)
def _kind(seen: str, written: str, own: Pairs, before: str) -> Kind | None:
    """Key, role and plainness of what the finder found; None for what is no mark of thinking."""
    for number, (opens, ends) in enumerate(own):
        if seen == _as_seen(opens)[0]:
            return f"own{number}", "open", True
        if seen == _as_seen(ends)[0]:
            return f"own{number}", "close", True
    match = _finder(()).match(seen + "\n")
    if match is None:
        return None
    names = match.groupdict()
    for group, slash, sign in _NAMED_MARKS:
        if name := names[group]:
            itself = names["itself"] or names["amp_itself"]
            return _tag(sign, name, bool(names[slash]), bool(itself), written, before)
    return _token(names)


def _tag(sign: str, name: str, slash: bool, itself: bool, written: str, before: str) -> Kind | None:
    key, closes = side(name, closes=slash) or ("", False)
    quoting = written[:1] in _QUOTING and key not in ("think", "thinking")
    # Array<Analysis> is a type.
    behind_word = before.isalnum() or before == "_"
    typed = behind_word and name[0].isupper() and not name.isupper() and not slash
    if not key or quoting or typed or (key == "inner" and sign != "|"):
        return None
    plain = _PLAIN.fullmatch(written) is not None and (name.isascii() or name in _WORDS)
    if itself:
        return sign + key, "odd", plain
    return sign + key, "close" if closes else "open", plain


def _token(names: Mapping[str, str | None]) -> Kind | None:
    if names["gemma"] is not None or names["gemma_ends"]:
        return "channel>", "close" if names["gemma_ends"] else "open", True
    if names["im"] or names["turn"] == "im_end":
        return "im", "open" if side(names["as"] or "") else "turn", True
    if names["turn"]:
        return "channel", "turn", True
    if names["to"] or names["begins"]:
        return "channel", "call", True
    answers = (names["channel"] or "").lower() in ("final", "commentary")
    return "channel", "answer" if answers else "open", True
