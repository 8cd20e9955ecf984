"""Is an answer asserted? It is when the sentence around it has one of a few forms: lead, value, harmless tail.

A lead is empty, a formula, "the answer is" in one of ten languages, or a clause without a word that denies, doubts, supposes
or reports; a tail is a unit, a reason or words that say no more of the value. What is in doubt counts as not asserted.
"""

import re

from ._formula import why_part
from ._words import ANSWER, DENIES, LINK, SUPPOSES

_SIDE = 300
_LATER = 4_000

_SENTENCE_END = re.compile(r"(?<![ei]\.[ge])[.!?]+[\"')\]*_}$]*\s|[。！？]")
_CONTINUES = re.compile(
    r"(?:[:,]|\b(?:not|never|than|of|out|says?|said|if|were|be|is|are|was|were|equals?|to|that|or|but)|n['\u2019]t)\W*\Z"
)
_CONCLUDES = re.compile(
    r"\b(?:so|thus|hence|therefore|then|which means|meaning|giving|gives|leaving|leaves|finally|consequently|donc"
    r"|also|daher|luego"
    r"|entonces|portanto|quindi|(?<!anything )(?<!nothing )(?<!everything )(?<!all )but)\b|;|\\implies"
    r"|\\[Rr]ightarrow|\u21d2|=>|\u2192"
    r"|\u6240\u4ee5|\u56e0\u6b64"
)
_PLAIN_LEAD = re.compile(
    r"[\s$\\(\[{*_#>=:,-]*"
    r"(?:(?:we (?:get|have|find|obtain|conclude|see)|it follows|i get|i find|clearly|finally|now)[ ,:]*(?:that )?)?"
    rf"(?:(?:the|our|my|your)\s+)?(?:(?:final|correct|right|best|required)\s+)?{ANSWER}(?:\s+to this (?:problem|question))?"
    rf"[\s*_]*(?:is|equals|:|=|{LINK})[\s:*_]*(?:therefore|thus|simply|exactly|just|then)?[\s$\\(\[{{*_:=]*",
)
"""The lead of most answers."""

_COPULA = re.compile(
    r"\b(?:is|are|was|were|equals|has|have|had|gets?|got|kept|keeps?|ate|sold|bought|took|makes|costs?|needs?"
    r"|earns?|there)\b|="
)
_NEGATION = re.compile(
    r"\b(?:not|never|neither|nor|cannot|no longer|(?:in )?no (?:way|chance|reason)|by no means)\b|n['\u2019]t\b"
)
_REJECTION = re.compile(
    r"\b(?:rul(?:e[sd]?|ing) out|den(?:y|ies|ied)|(?:refus|reject|discard|refut|dismiss|disprov|exclud|eliminat)\w*"
    r"|(?:avoid|contradict|disregard)\w*|ignor(?:e[sd]?|ing)|forget)\b"
)
_OF_A_CLAIM = re.compile(
    r"\W*(?:true|correct|right|the case|that|likely|possible|clear|think|believe|mean|say|saying|follow|agree|accept"
    r"|conclude|sure|whether|it|this|the (?:claim|idea|possibility|answer|option|value|guess|result))\b|\W*[a-z]\s*="
)
_CLAIMS = (
    r"(?:says?|said|thinks?|thought|claim|believe|suggest|argue|insist|swear|guess|assert|conclude|propose)(?:s|d|ed)?"
)
_NOUNS = (
    r"(?:answer|value|result|solution|choice|option|guess|claim|conclusion|method|approach|calculation|computation|argument"
    r"|reasoning|formula|assumption|root|attempt|try|problem|question|exercise|task|example|universe|world)"
)
_PEOPLE = (
    r"(?:friend|student|some(?:one|body)|teacher|classmate|brother|sister|colleague|they|people|others|many|some"
    r"|another|other|he|she|you)"
)
_SOURCES = (
    r"(?:reader|solver|author|(?:text)?book|source|website|wikipedia|chatgpt|internet|calculator|key|sign"
    r"|(?:official|model) solution)"
)
_DOUBTED = re.compile(
    r"\b(?:maybe|perhaps|possibly|conceivably|hypothetically|supposedly|allegedly|tempt\w*"
    r"|(?<!no )(?<!without )(?<!beyond )doubts?"
    r"|according to|rumou?r\w*|try(?:ing)?|look(?:s|ing)? like|rough estimate|(?:the|my|an) estimate|guess(?:es"
    r"|ed)?|bet|misprint"
    r"|typo|decoy|placeholder|dummy|(?:template|format|notation)\W*(?:\w+\W+)?(?:is|be|like)|nobody|no one|hardly"
    r"|barely|scarcely"
    r"|thought|thinks|claim(?:s|ed)|believe[sd]|suggest(?:s|ed)|told|argue[sd]|insist(?:s|ed)|swears?|(?:upper"
    r"|lower) (?:bound|limit)"
    r"|(?:answer|i|we) (?:used to|was going to|were going to)|(?:earlier|previously|originally|initially"
    r"|at first),? (?:i|we))\b"
    r"|\b(?:might|may|could|would)\s+(?:\w+\s+)?(?:say|think|guess|answer|expect|claim|argue|believe|suppose|conclude)\b"
    r"|(?<!problem )(?<!question )(?<!statement )(?<!\bit )\b(?:says|said)\b"
    r"|(?:\b(?:if|unless)\b.*\b(?:were|was|had|did)|\A\W*(?:were|had)|\b(?:without|in that case))\b.*\bwould\b"
    r"|(?<!that )\b(?:could|might|may)\s+(?:\w+\s+){0,2}?(?:be|equal|have been)\b(?!\W*is\b)\W*(?:\w+\W+){0,3}\Z"
    r"|\b(?:wrong|incorrect|false|invalid|erroneous|flawed|faulty|naive|fake|bogus|bad|previous|other|another"
    r"|different|next|old"
    r"|earlier|first|initial|failed|former|outdated|tentative|provisional|trap|extraneous|rejected)"
    rf"\s+(?:\w+\s+)?{_NOUNS}\b|\b(?:his|her|their|your|whose) (?:\w+ )?(?:answer|guess|claim|solution|result)\b"
    rf"|\b(?:{_PEOPLE}|{_SOURCES})s?(?:['\u2019]s?)?\s+(?:\w+\s+)?(?:{_CLAIMS}|{_NOUNS})\b"
    rf"|\b{_SOURCES}s?\s+(?:prints?|printed|lists?|listed|gives?|gave|states?|stated|shows?|shown|reports?|quotes?"
    rf"|answers|answered|obtain\w*)\b"
    r"|\b(?:solver|reader|author|classmate|key|wikipedia|chatgpt|(?:an?|my|some|another) (?:\w+ )?(?:student|friend))s?"
    r"\s+(?:gets?|got|had|has|obtain\w*|wrote|computed)\s*[$\\(]*\Z"
    r"|\b(?:wrong|incorrect|false|untrue|absurd|nonsense|impossible|unlikely|doubtful|an? (?:lie|myth|mistake"
    r"|trap))\W+(?:that|to \w+)\b"
    r"|\b(?:says?|asks?|asked|tells?|told|wants?|wanted|please)\b.*\b(?:write|put|say|output|print|box|reply"
    r"|respond|return)\b(?:\W+\w+){0,4}\W*\Z"
)
"""Words that make a clause something else than an assertion."""
_MISTAKE = re.compile(
    r"\b(?:common|typical|frequent|usual|classic|easy|naive|tempting)\s+(?:mistake|error|trap|pitfall|answer|guess|slip)\b"
    r"|\b(?:forgetting|neglecting|overlooking|misreading|misusing|miscounting)\b[^,]*\Z"
    r"|\b(?:mistaken(?:ly)?|erroneously|wrongly|falsely|incorrectly)\b"
)
"""The same for the whole sentence."""
_TURNED = re.compile(
    r"(?:\b(?:wrong|incorrect|false|invalid|untrue|nonsense|absurd|lie|trap|distractor|example|for instance|such as"
    r"|e\.g|in the form"
    r"|like (?:this|so)|as in|other than|unlike|than|instead of|except(?: for)?|different from|(?:anything|nothing"
    r"|everything|all) but"
    r"|far from|or|either|between|versus|vs|contrary to|close(?:r|st)? to|near(?:er|est)?(?: to)?|from|bounded by"
    r"|opposed to|least"
    r"|(?:old|previous|earlier|initial|former|outdated|tentative|provisional) (?:answer|result|solution)"
    r"|most|(?:exceed|surpass)(?:s|es)?|answer were|it were|divisible by|next to"
    r"|(?:half|third|quarter|square|cube|root|opposite|reciprocal|inverse|negative|multiple|factor|divisor|power"
    r"|function|fraction"
    r"|part|successor|predecessor|double|one|some|any|out|%\W*|percent) of)|%\W* of"
    r"|\u2260|\\neq?|\\not=|!=|<|(?<![=-])>|\\[lg](?:eq?|t))[\s$\\(\[{*_.,:]*\Z"
    r"|\b(?:twice|thrice|triple|minus|negative|double|half|let|consider|check|test|examine|delete|replace|change|output"
    r"|answer\b.*\b(?:before|after|below|above|under|beyond|past|within|over))[\s$\\(\[{*_]*\Z"
    r"|\b(?:add|subtract)(?:ing)? \w+ (?:to|from)\W*\Z|\A\W*(?:write|add|subtract|put)[\s$\\(\[{*_]*\Z"
    r"|\blet (?:\w+\s+){0,2}\$?\\?\w+\s*=[\s$\\]*\Z"
    r"|\banswer(?:['\u2019]s \w+|,? (?:plus|minus|times|squared|cubed)\b.*)\s+(?:is|equals)\W*\Z"
    r"|\b(?:twice|half|double|of|than|to|from) (?:the|this|my) answer\W+(?:is|was|equals)\W*\Z"
)
"""Words right before a value that make another of it, or only name it."""
_QUOTE_BEFORE = re.compile(r"[\"'`\u2018\u201c\u00ab][\s$\\(\[{*_]*\Z")
_QUOTE_AFTER = re.compile(r"\A[\s$\\)\]}*_.,]*[\"'`\u2019\u201d\u00bb]")

_SOFT = r"[\s$\\)\]}*_.\"'%\u2013\u2014-]*"
_REASON = re.compile(
    rf"{_SOFT}[,;(]?\s*(?:because|since|as|for|weil|denn|da|car|parce que|porque|perch\u00e9|\u56e0\u4e3a)\b"
)
_CONTRAST = re.compile(
    r"[,;(]?\s*(?:and |et |y |\u0430 )?(?:not|rather than|instead of|nicht|non|pas|no|\u043d\u0435"
    r"|\u800c\u4e0d\u662f)\s+[$\\(*]*(?:-?\d|[a-j]\b)[^.;]*"
)
_ALTERNATIVE = re.compile(
    r"(?:\W*\b(?:or|versus|vs)\b|[\s$\\)\]}*_]*(?:\b(?:oder|ou|o|или)\b|\u6216|and\s+[$\\(]*-?\d)"
    r"|\W*[-\u2013\u2014,(]\s*(?:or|or perhaps|maybe|perhaps)\b)"
)
_ABOUT_VALUE = re.compile(
    rf"{_SOFT}(?:is|was|be|isn['\u2019]t|seems|looks|would|could|might|may|can(?:not|['\u2019]t)?|does(?:n['\u2019]t)?|must"
    r"|should|remains|leads|falls|fails|contradicts|violates|exceeds|minus|plus|squared|cubed|divided|multiplied"
    rf"|factorial|mod|to the power|and a (?:half|third|quarter)|(?:in |\()?base)\b|{_SOFT}(?:over|to|times)\s+[\d$\\]"
)
_IS_IT = re.compile(
    rf"{_SOFT}(?:is|was|must be|would be)\s+(?:(?:indeed|therefore|thus|then|clearly)\s+)?"
    r"(?:the|our|my|correct|right|needed|required|left|remaining|spent|given)\b(?!.*\bif\b)"
)
"""What may be said of the value itself."""
_COMPUTED = re.compile(r"\d\S*\s*=[\s$\\]*\Z")
_UNDONE = re.compile(
    r"\b(?:(?:wrong|incorrect|false)(?! (?:answers|questions|coins?|ones)\b)|untrue|invalid|mistaken|absurd"
    r"|nonsense|misprint|typo|extraneous|impossible|unlikely|contradict\w*"
    r"|violat\w*|says|said|claim(?:s|ed)|according to|supposedly|allegedly|unless|fails|disagree|dispute|doubt"
    r"|rejected|excluded"
    r"|ruled out|naive|falls? short|off by|just misses|remains to be|(?:upper|lower) bound|if (?:and only if|it|the"
    r"|there)|only if|would (?:be|have)\b.*\bif"
    r"|book['\u2019]s|(?:another|different|previous|other) (?:problem|question|exercise|case)|my first|mistake|trap"
    r"|decoy|red herring|guess|lie|not (?:quite|exact|right|correct|true|valid|the|an?|possible))\b"
    r"|\bbut (?:the (?:actual|real|true|correct|right|final)|it['\u2019 ]i?s|actually|in fact|really|i\b|we\b|that"
    r"|this|not|my|mine)"
    r"|\bor (?:more|less|so|fewer|perhaps|maybe|[$\\(]*-?\d)|\bif (?:you|one|we|i|they|he|she) (?:forg[eo]t|ignore"
    r"|neglect|overlook|misread|misuse|miscount|skip)"
    r"|(?:\bit|which|that) (?:cannot|can['\u2019]t|isn['\u2019]t|does not|is not)|\u2260|\\neq?|!="
)
"""Words after a value that take it back."""
_TAG = re.compile(r"</?[a-z]+>")
_RETRACTED = re.compile(
    r"\bwait\b\s*[,.!\u2026\u2014-]|\b(?:oops|scratch that|correction|sorry|on second thought|kidding|joking"
    r"|disagree|retract|give up)\b"
    r"|\b(?:but )?(?:i|we) (?:can(?:no|['\u2019])t|can not|could(?: not|n['\u2019]t)|do(?: not"
    r"|n['\u2019]t)) (?:solve|answer|know)\b"
    r"|\bbut (?:i|we) (?:can(?:not|['\u2019]t)|will not|won['\u2019]t)\W*\Z|\b(?:i|we) (?:take (?:it|that) back|meant?)\b"
    r"|\n\W*(?:edit|update)\W*:|\balternatively,?\s+(?:the answer|[-$\\(*]*\d)|\b(?:strike|cancel|undo) that\b"
    r"|\b(?:disregard|ignore|forget)\s+(?:that|this|the|my|it)\b|\b(?:i|we) (?:was|were|am|are) (?:wrong|mistaken|lying)\b"
    r"|\b(?:that|this|it|the (?:above|answer))(?:['\u2019]s| is| was)(?:n['\u2019]t| not)?\s+(?:\w+\s+)?(?:wrong"
    r"|incorrect|false|invalid"
    r"|not (?:right|correct|true|the answer)|an? (?:mistake|error|lie))\b"
    r"|\b(?:that|this|it|the (?:above|answer))(?:['\u2019]s not| is not| (?:isn"
    r"|wasn)['\u2019]t)\s+(?:\w+\s+)?(?:right|correct|true|the answer)\b"
    r"|\bmade an? (?:\w+ )?(?:mistake|error)\b|\bshould (?:actually |really )?(?:be|have been)\s+[$\\]*[-\d]"
    r"|(?:\A|[.!?,\n\u2026\u2014-])\s*(?:hm+\W+|oh\W+)?no\s*[,.:;!\u2014-]"
    r"|\b(?:actually|in fact|rather|instead),?\s+(?:it|the|that|[-$\\(*]*\d)|\bmake (?:that|it)\s+[-$\\(*]*\d"
    r"|\bon (?:reflection|second thoughts)\b|\blet me (?:correct|redo|fix|revise|change)\b"
    r"|\b(?:nein|perd\u00f3n|espera|attendez|d\u00e9sol\u00e9|entschuldigung|stimmt nicht"
    r"|\u043f\u043e\u0434\u043e\u0436\u0434\u0438\w*)\b|\u7b49\u7b49|\u7b49\u4e00\u4e0b|\u62b1\u6b49"
)
"""What takes an answer back in a later sentence."""


def why_not_asserted(text: str, start: int, end: int) -> str:
    """Why the answer at text[start:end] is not asserted, or "" when it is."""
    if text.startswith("\\", start) and (why := why_part(text, start, end)):
        return why
    before = _sentence_before(text[max(0, start - _SIDE) : start].lower())
    after = _TAG.sub(" ", text[end : end + _SIDE].lower())
    if _QUOTE_BEFORE.search(before) and _QUOTE_AFTER.search(after):
        return "the answer is quoted"
    return _why_not_led(before) or _why_undone(before, after) or _why_retracted(text[end : end + _LATER].lower())


def _why_not_led(before: str) -> str:
    """Why the words before a value do not lead to it as to an answer."""
    if not before or _PLAIN_LEAD.fullmatch(before):
        return ""
    clause = _CONCLUDES.split(before)[-1]
    if _denied(clause) or DENIES.search(clause):
        return "the answer is denied"
    if any("," not in clause[found.end() :].lstrip(", ") for found in SUPPOSES.finditer(clause)):
        return "the answer is supposed, not asserted"
    if _MISTAKE.search(before) or _DOUBTED.search(clause) or _TURNED.search(before):
        return "the answer is doubted, or somebody else's"
    return ""


def _why_undone(before: str, after: str) -> str:
    """Why the rest of the sentence takes a value back, offers another, or says something else of it."""
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
    rest = _CONTRAST.sub("", rest)
    # Of "9 + 9 = 18 were sold" it is said what was counted, of "18 is ..." what 18 is.
    told = _ABOUT_VALUE.match(rest) and not _IS_IT.match(rest) and not _COMPUTED.search(before)
    if told or _UNDONE.search(rest) or DENIES.search(rest):
        return "the answer is taken back"
    return ""


def _why_retracted(later: str) -> str:
    return "the answer is taken back" if _RETRACTED.search(later) else ""


def _denied(clause: str) -> bool:
    for pattern in (_NEGATION, _REJECTION):
        for found in pattern.finditer(clause):
            tail = clause[found.end() :]
            if pattern is _REJECTION and _COPULA.search(tail.partition(",")[2]):
                continue
            # "those who do not play are 42" asserts 42; "it is not true that the answer is 42" does not.
            if _OF_A_CLAIM.match(tail) or not _COPULA.search(tail):
                return True
    return False


def _sentence_before(before: str) -> str:
    """The sentence that leads to the answer, with the line before it when that line does not stop."""
    head, newline, line = _TAG.sub(" ", before).rpartition("\n")
    if newline and not line.strip(" $\\([{*_"):
        head = head.rstrip().removesuffix("$$").removesuffix("\\[").rstrip()
    previous = head.rpartition("\n")[2]
    if newline and _CONTINUES.search(previous):
        line = previous + " " + line
    ends = [found.end() for found in _SENTENCE_END.finditer(line)]
    return line[ends[-1] :] if ends else line
