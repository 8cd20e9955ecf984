"""Is an answer asserted? It is when the sentence around it has one of a few forms: lead, value,
harmless tail.

A lead is empty, a formula, "the answer is" in one of ten languages, or a clause without a word that
denies, doubts, supposes or reports; a tail is a unit, a reason or words that say no more of the
value. What is in doubt counts as not asserted.
"""

import re

from .._text.words import (
    ANSWER,
    DENIES,
    DOUBTS,
    LINK,
    MISTAKES,
    OF_SOME,
    REASON,
    RETRACTS,
    SUPPOSES,
    TURNS,
    UNDOES,
)
from .formula import why_part

_SIDE = 300
_LATER = 4_000

_SENTENCE_END = re.compile(r"(?<![ei]\.[ge])[.!?]+[\"')\]*_}$]*\s|[。！？]")
_CONTINUES = re.compile(
    r"(?:[:,]|\b(?:not|never|than|of|out|says?|said|if|were|be|is|are|was|were|equals?|to|that|or"
    r"|but)|n['\u2019]t)\W*\Z"
)
_CONCLUDES = re.compile(
    r"\b(?:so|thus|hence|therefore|then|which"
    r" means|meaning|giving|gives|leaving|leaves|finally|consequently|donc"
    r"|also|daher|luego"
    r"|entonces|portanto|quindi|(?<!anything )(?<!nothing )(?<!everything )(?<!all"
    r" )but)\b|;|\\implies"
    r"|\\[Rr]ightarrow|\u21d2|=>|\u2192"
    r"|\u6240\u4ee5|\u56e0\u6b64"
)
_PLAIN_LEAD = re.compile(
    r"[\s$\\(\[{*_#>=:,-]*"
    r"(?:(?:we (?:get|have|find|obtain|conclude|see)|it follows|i get|i find|clearly|finally|now)["
    r" ,:]*(?:that )?)?"
    rf"(?:(?:the|our|my|your)\s+)?(?:(?:final|correct|right|best|required)\s+)?{ANSWER}(?:\s+to"
    r" this (?:problem|question))?"
    rf"[\s*_]*(?:is|equals|:|=|{LINK})[\s:*_]*(?:therefore|thus|simply|exactly|just"
    rf"|then)?[\s$\\(\[{{*_:=]*",
)
"""The lead of most answers."""

_LETTER = re.compile(r"[^\W\d_]|[<>\u2260]|!=")
_COPULA = re.compile(
    r"\b(?:is|are|was|were|equals|has|have|had|gets?|got|kept|keeps?|ate|sold|bought|took|makes"
    r"|costs?|needs?"
    r"|earns?|there|(?:must|will) be)\b|="
)
_NEGATION = re.compile(
    r"\b(?:not|never|neither|nor|cannot|no longer|(?:in )?no (?:way|chance|reason)|by no"
    r" means)\b|n['\u2019]t\b"
)
_REJECTION = re.compile(
    r"\b(?:rul(?:e[sd]?|ing)"
    r" out|den(?:y|ies|ied)|(?:refus|reject|discard|refut|dismiss|disprov|exclud|eliminat)\w*"
    r"|(?:avoid|contradict|disregard)\w*|ignor(?:e[sd]?|ing)|forget)\b"
)
_OF_A_CLAIM = re.compile(
    r"\W*(?:true|correct|right|the case|that|likely|possible|clear|saying|follow"
    r"|(?:to )?(?:think|believe|mean|say|agree|accept|conclude)|sure|whether|it|this"
    r"|the (?:claim|idea|possibility|answer|option|value|guess|result))\b|\W*[a-z]\s*="
)
_WOULD = re.compile(
    r"(?:\b(?:if|unless)\b.*\b(?:were|was|had|did)|\A\W*(?:were|had)|\b(?:without|in that"
    r" case))\b.*\bwould\b"
    r"|(?<!that )\b(?:could|might|may)\s+(?:\w+\s+){0,2}?(?:be|equal|have"
    r" been)\b(?!\W*is\b)\W*(?:\w+\W+){0,3}\Z"
    r"|\b(?:says?|asks?|asked|tells?|told|wants?|wanted|please)\b.*\b(?:write|put|say|output|print"
    r"|box|reply|return)\b"
    r"(?:\W+\w+){0,4}\W*\Z"
)
"""What would be, might be, or is asked for."""
_OF_ANSWER = re.compile(
    r"\b(?:add|subtract)(?:ing)? \w+"
    r" (?:to|from)\W*\Z|\A\W*(?:write|add|subtract|put|say,?)[\s$\\(\[{*_]*\Z"
    r"|\blet (?:\w+\s+){0,2}\$?\\?\w+\s*=[\s$\\]*\Z"
    r"|\banswer(?:['\u2019]s \w+|,? (?:plus|minus|times|squared|cubed)\b.*)\s+(?:is|equals)\W*\Z"
    r"|\b(?:twice|half|double|of|than|to|from) (?:the|this|my) answer\W+(?:is|was|equals)\W*\Z"
)
"""A value that is computed from the answer, or a name for one."""
_QUOTE_BEFORE = re.compile(r"[\"'`\u2018\u201c\u00ab][\s$\\(\[{*_]*\Z")
_QUOTE_AFTER = re.compile(r"\A[\s$\\)\]}*_.,]*[\"'`\u2019\u201d\u00bb]")

_SOFT = r"[\s$\\)\]}*_.\"'%\u2013\u2014-]*"
_REASON = re.compile(rf"{_SOFT}[,;(]?\s*(?:{REASON}|for|da|\u56e0\u4e3a)\b")
_CONTRAST = re.compile(
    r"[,;(]?\s*(?:and |et |y |\u0430 )?(?:not|rather than|instead of|nicht|non|pas|no|\u043d\u0435"
    r"|\u800c\u4e0d\u662f)\s+[$\\(*]*(?:-?\d|[a-j]\b)[^.;]*"
)
_OF_OTHERS = re.compile(
    r"[,;(]\s*(?:and |but |while |whereas |as |since )?(?:the"
    r" )?(?:others?|negative|second|smaller|larger|remaining)"
    r"(?: (?:roots?|solutions?|values?|cases?|candidates?|options?|choices?|ones?|possibilit\w+))?"
    r" (?:is|are|was|were|being|must be|can be) (?:\w+"
    r" )?(?:rejected|excluded|discarded|extraneous|invalid|impossible|wrong"
    r"|incorrect|false|ruled out)\b"
)
"""What is said of another value: the reason why it is not the answer."""
_ALTERNATIVE = re.compile(
    r"(?:\W*\b(?:or|versus|vs)\b|[\s$\\)\]}*_]*(?:\b(?:oder|ou|o|или)\b|\u6216|and\s+[$\\(]*-?\d)"
    r"|\W*[-\u2013\u2014,(]\s*(?:or|or perhaps|maybe|perhaps)\b)"
)
_ABOUT_VALUE = re.compile(
    rf"{_SOFT}(?:is|was|be|isn['\u2019]t|seems|looks|would|could|might|may|can(?:not|['\u2019]t)?"
    rf"|does(?:n['\u2019]t)?|must"
    r"|should|remains|leads|falls|fails|contradicts|violates|exceeds|minus|plus|squared|cubed"
    r"|divided|multiplied"
    r"|factorial|mod|to the power|and a (?:half|third|quarter)|(?:in"
    rf" |\()?base)\b|{_SOFT}(?:over|to|times|less)\s+[\d$\\]"
    rf"|{_SOFT},\s*(?:minus|plus|times|divided by|multiplied by)\b"
)
_IS_IT = re.compile(
    rf"{_SOFT}(?:is|was|must be|would be)\s+(?:(?:indeed|therefore|thus|then|clearly)\s+)?"
    r"(?:the|our|my|correct|right|needed|required|left|remaining|spent|given)\b(?!.*\bif\b)"
)
"""What may be said of the value itself."""
_COMPUTED = re.compile(r"\d\S*\s*=[\s$\\]*\Z")
_TEXT = re.compile(r"\\(?:text\w*|mathrm|mbox)\s*\{")
_TAG = re.compile(r"</?[a-z]+>")
_RETRACTED = re.compile(
    r"\bwait\b\s*[,.!\u2026\u2014-]|\b(?:oops|scratch that|correction|sorry|on second"
    r" thought|kidding|joking"
    r"|disagree|retract|give up)\b"
    r"|\b(?:but )?(?:i|we) (?:can(?:no|['\u2019])t|can not|could(?: not|n['\u2019]t)|do(?: not"
    r"|n['\u2019]t)) (?:solve|answer|know)\b"
    r"|\bbut (?:i|we) (?:can(?:not|['\u2019]t)|will not|won['\u2019]t)\W*\Z|\b(?:i|we) (?:take"
    r" (?:it|that) back|meant?)\b"
    r"|\n\W*(?:edit|update)\W*:|\balternatively,?\s+(?:the"
    r" answer|[-$\\(*]*\d)|\b(?:strike|cancel|undo) that\b"
    r"|\b(?:disregard|ignore|forget)\s+(?:that|this|the|my|it)\b|\b(?:i|we) (?:was|were|am|are)"
    r" (?:wrong|mistaken|lying)\b"
    r"|\b(?:(?:that|this)(?: answer| value| result)?|it|the (?:above|answer))(?:['\u2019]s| is|"
    r" was)(?:n['\u2019]t"
    r"| not)?\s+(?:\w+\s+)?(?:wrong"
    r"|incorrect|false|invalid"
    r"|not (?:right|correct|true|the answer)|an? (?:mistake|error|lie))\b"
    r"|\b(?:(?:that|this)(?: answer| value| result)?|it|the (?:above|answer))(?:['\u2019]s not| is"
    r" not| (?:isn"
    r"|wasn)['\u2019]t)\s+(?:\w+\s+)?(?:right|correct|true|the answer)\b"
    r"|\bmade an? (?:\w+ )?(?:mistake|error)\b|\bshould (?:actually |really )?(?:be|have"
    r" been)\s+[$\\]*[-\d]"
    r"|(?:\A|[.!?,\n\u2026\u2014-])\s*(?:hm+\W+|oh\W+)?no\s*[,.:;!\u2014-]"
    r"|\b(?:actually|in fact|rather|instead),?\s+(?:it|the|that|[-$\\(*]*\d)|\bmake"
    r" (?:that|it)\s+[-$\\(*]*\d"
    r"|\bon (?:reflection|second thoughts)\b|\blet me (?:correct|redo|fix|revise|change)\b"
    r"|\b(?:nein|perd\u00f3n|espera|attendez|d\u00e9sol\u00e9|entschuldigung|stimmt nicht"
    r"|\u043f\u043e\u0434\u043e\u0436\u0434\u0438\w*)\b|\u7b49\u7b49|\u7b49\u4e00\u4e0b"
    r"|\u62b1\u6b49"
)
"""What takes an answer back in a later sentence."""


def why_not_asserted(text: str, start: int, end: int) -> str:
    """Why the answer at text[start:end] is not asserted, or "" when it is."""
    if text.startswith("\\", start) and (why := why_part(text, start, end)):
        return why
    before = _sentence_before(text[max(0, start - _SIDE) : start].lower())
    after = _TEXT.sub(" ", _TAG.sub(" ", text[end : end + _SIDE].lower()))
    if _QUOTE_BEFORE.search(before) and _QUOTE_AFTER.search(after):
        return "the answer is quoted"
    return (
        _why_not_led(before)
        or _why_undone(before, after)
        or _why_retracted(text[end : end + _LATER].lower())
    )


def _why_not_led(before: str) -> str:
    """Why the words before a value do not lead to it as to an answer."""
    if not _LETTER.search(before) or _PLAIN_LEAD.fullmatch(before):
        return ""
    clause = _CONCLUDES.split(before)[-1]
    if _denied(clause) or DENIES.search(OF_SOME.sub(" ", clause)):
        return "the answer is denied"
    if any("," not in clause[word.end() :].lstrip(", ") for word in SUPPOSES.finditer(clause)):
        return "the answer is supposed, not asserted"
    if MISTAKES.search(before) or DOUBTS.search(clause) or _WOULD.search(clause):
        return "the answer is doubted, or somebody else's"
    if TURNS.search(before) or _OF_ANSWER.search(before):
        return "another value than the answer is told"
    return ""


def _why_undone(before: str, after: str) -> str:
    """Why the rest of the sentence takes a value back, offers another, or says something else of
    it.
    """
    stop = _SENTENCE_END.search(after + " ")
    rest = after[: stop.start()] if stop else after
    rest, broken, _ = rest.partition("\n")
    if stop and not broken and stop[0][0] in "?\uff1f":
        return "the answer is asked, not asserted"
    if _ALTERNATIVE.match(after):
        return "another answer is offered"
    if _REASON.match(rest):
        # What the others are is a reason, and no word on this answer: "B, because A is wrong".
        return ""
    rest = _OF_OTHERS.sub("", _CONTRAST.sub("", rest))
    # Of "9 + 9 = 18 were sold" it is said what was counted, of "18 is ..." what 18 is.
    more = _ABOUT_VALUE.match(rest) and not _IS_IT.match(rest) and not _COMPUTED.search(before)
    if more or UNDOES.search(rest) or DENIES.search(rest):
        return "the answer is taken back"
    return ""


def _why_retracted(later: str) -> str:
    return "the answer is taken back" if _RETRACTED.search(later) or RETRACTS.search(later) else ""


def _denied(clause: str) -> bool:
    for pattern in (_NEGATION, _REJECTION):
        for word in pattern.finditer(clause):
            tail = clause[word.end() :]
            if pattern is _REJECTION and _COPULA.search(tail.partition(",")[2]):
                continue
            # "those who do not play are 42" asserts 42; "it is not true that the answer is 42" does
            # not.
            if _OF_A_CLAIM.match(tail) or not _COPULA.search(tail):
                return True
    return False


def _sentence_before(before: str) -> str:
    """The sentence that leads to the answer, with the line before it when that line does not
    stop.
    """
    head, newline, line = _TAG.sub(" ", before).rpartition("\n")
    if newline and not line.strip(" $\\([{*_"):
        head = head.rstrip().removesuffix("$$").removesuffix("\\[").rstrip()
    previous = head.rpartition("\n")[2]
    if newline and _CONTINUES.search(previous):
        line = previous + " " + line
    start = 0
    for stop in _SENTENCE_END.finditer(line):
        start = stop.end()
    return line[start:]
