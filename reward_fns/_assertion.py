"""Is an answer asserted, or denied, supposed, reported of somebody else, asked, quoted, or taken back?

A few rules of English, applied to the sentence around the answer; what is in doubt counts as not asserted.
"""

import re

_SIDE = 300
_LATER = 4_000

_SENTENCE_END = re.compile(r"(?<![ei]\.[ge])[.!?]+[\"')\]*_}$]*\s")
_CONTINUES = re.compile(
    r"(?:[:,]|\b(?:not|never|than|of|out|says?|said|if|were|be|is|are|was|equals?|to|that|or|but)|n['\u2019]t)\W*\Z"
)
_CONCLUDES = re.compile(
    r"\b(?:so|thus|hence|therefore|then|which means|meaning|giving|gives|leaving|leaves|finally|consequently"
    r"|(?<!anything )(?<!nothing )(?<!everything )(?<!all )but)\b|;|\\implies|\\rightarrow|\u21d2|=>|\u2192"
)
_COPULA = re.compile(
    r"\b(?:is|are|was|were|equals|has|have|had|gets?|got|kept|keeps?|ate|sold|bought|took|makes|costs?|needs?|earns?|there)\b|="
)

_NEGATION = re.compile(
    r"\b(?:not|never|neither|nor|cannot|no longer|(?:in )?no way|no chance|no reason|by no means)\b|n['\u2019]t\b"
)
_OF_A_CLAIM = re.compile(
    r"\W*(?:true|correct|right|the case|that|likely|possible|clear|think|believe|mean|say|saying|follow|agree|accept"
    r"|conclude|sure|whether|it|this|the (?:claim|idea|possibility|answer|option|value|guess|result))\b|\W*[a-z]\s*="
)
_REJECTION = re.compile(
    r"\b(?:rul(?:e[sd]?|ing) out|den(?:y|ies|ied)|(?:refus|reject|discard|refut|dismiss|disprov|exclud|eliminat)\w*"
    r"|(?:avoid|contradict|disregard)\w*|ignor(?:e[sd]?|ing)|forget)\b"
)
_CONDITION = re.compile(r"\b(?:if|suppos(?:e|ing)|assum(?:e|ing)|imagine|unless|whether|pretend|were it|had it)\b")

_DOUBTFUL = [
    re.compile(pattern)
    for pattern in (
        r"(?<!that )\b(?:could|might|may)\s+(?:\w+\s+){0,2}?(?:be|equal|have been)\b(?!\W*is\b)\W*(?:\w+\W+){0,3}\Z",
        r"\b(?:maybe|perhaps|possibly|conceivably|hypothetically|supposedly|allegedly)\b|\btempt\w*",
        r"\b(?:might|may|could|would)\s+(?:\w+\s+)?"
        r"(?:say|think|guess|answer|expect|claim|argue|believe|suppose|conclude)\b",
        r"\b(?<!no )(?<!without )(?<!beyond )doubts?\b|\bthought\b|\baccording to\b|\brumou?r\w*",
        r"\b(?:thinks|claim(?:s|ed)|believe[sd]|suggest(?:s|ed)|told|argue[sd]|insist(?:s|ed)|swears?|guess(?:es|ed))\b",
        r"(?<!problem )(?<!question )(?<!statement )(?<!\bit )\b(?:says|said)\b",
        r"\b(?:they|people|some|others|many|students|friends)\s+(?:\w+\s+)?(?:say|think|claim|believe|argue|guess)\b",
        r"\b(?:friend|student|some(?:one|body)|teacher|classmate|brother|sister|colleague|another|other|textbook)s?"
        r"(?:['\u2019]s?)?\s+(?:\w+\s+)?(?:answer|solution|result|guess|claim|got|gets|had|wrote|writes)\b",
        r"\b(?:his|her|their|your|whose)\s+(?:\w+\s+)?(?:answer|guess|claim)\b",
        r"\b(?:wrong|incorrect|false|mistaken|invalid|erroneous|flawed|faulty|naive|fake|bogus|bad)\s+"
        r"(?:answer|value|result|solution|choice|option|guess|claim|conclusion|method|approach|calculation|computation|argument"
        r"|reasoning|formula|assumption)\b",
        r"\b(?:mistakenly|erroneously|wrongly|falsely|incorrectly)\b",
        r"\b(?:previous|other|another|different|next) (?:problem|question|exercise|task|example|universe|world)\b",
        r"\b(?:text)?(?:books?|sources?|websites?) (?:list|give|say|claim|show|state)s?\b",
        r"\b(?:wrong|incorrect|false|invalid|untrue|nonsense|absurd|lie|trap|decoy|distractor|placeholder|dummy)\W*\Z",
        r"\b(?:false|untrue|wrong|incorrect|absurd|nonsense|impossible|unlikely|doubtful|an? (?:lie|myth|mistake|trap))"
        r"\W+(?:that|to \w+)\b",
        r"\b(?:trap|decoy|placeholder)\s+(?:answer|value|option)\b|\bat (?:most|least)[\s$\\(\[{*_]*\Z",
        r"\b(?:format|template|placeholder|dummy|sample|notation|example)\b\W*(?:\w+\W+)?(?:is|be|like)\b",
        r"\b(?:if|unless)\b.*\b(?:were|was|had|did)\b.*\bwould\b",
        r"\b(?:says?|asks?|asked|tells?|told|wants?|wanted)\b.*\bto (?:write|put|say|output|print|box|reply|respond|return)\b"
        r"(?:\W+\w+){0,4}\W*\Z",
        r"\b(?:old|previous|earlier|initial|former|outdated|tentative|provisional) "
        r"(?:answer|result|solution)\W*(?:(?:is|was)\W*)?\Z",
        r"\b(?:nobody|no one|hardly|barely|scarcely)\b[^,;]*\Z",
        r"\b(?:my|wild|best|lucky) guess\b|\bi(?:['\u2019]d| would) bet\b|\brough estimate\b",
        r"(?<!least )(?<!greatest )\b(?:upper|lower) bound\b",
        r"\b(?:answer|it) were\W*\Z|\blet \w\s*=\W*\Z",
        r"\b(?:consider|check|test|examine|delete|replace|change|double)[\s$\\(\[{*_]*\Z",
        r"\b(?:add|subtract)(?:ing)? \w+ (?:to|from)\W*\Z|\b(?:earlier|previous|first|initial|failed) (?:attempt|try)\b",
        r"\b(?:i|we) (?:used to|was going to|were going to)\b|\b(?:earlier|previously|originally|initially|at first),? (?:i|we)\b",
        r"\b(?:twice|half|double|(?:of|than|to|from)) (?:the|this|my) answer\W+(?:is|was|equals)\W*\Z",
        r"\banswer(?:['\u2019]s \w+|,? (?:plus|minus|times|squared|cubed)\b.*)\s+(?:is|equals)\W*\Z",
        r"\b(?:successor|predecessor) of\W*\Z",
        r"\btry(?:ing)?\b|\blook(?:s|ing)? like\b",
        r"(?:\bfor (?:example|instance)|\be\.g|\bsuch as|\bexample|\bformat|\bin the form|\bas in|\bother than|\bunlike"
        r"|\bthan|\binstead of|\bexcept(?: for)?|\bdifferent from|\b(?:anything|nothing|everything|all) but"
        r"|\bfar from|\bor|\beither|\bbetween|\bversus|\bvs|\u2260|\\neq?|\\not=|!="
        r"|<|>|\\[lg](?:eq?|t)|\bcontrary to|\bclose(?:r|st)? to|\bnear(?:er|est)?(?: to)?|\bfrom|\bbounded by|\bopposed to"
        r"|\b(?:exceed|surpass)(?:s|es)?)[\s$\\(\[{*_.,:]*\Z",
        r"\banswer\b.*\b(?:twice|thrice|triple|minus|negative|(?:double|half|square|cube|root|negative|opposite|reciprocal|inverse)"
        r"(?: of)?|(?:multiple|factor|divisor|power|function|fraction|part) of|divisible by|next to|before|after|below|above|under"
        r"|over|beyond|past|within)[\s$\\(\[{*_]*\Z",
    )
]
_MISTAKE = re.compile(
    r"\b(?:common|typical|frequent|usual|classic|easy|tempting|naive)\s+(?:mistake|error|trap|pitfall|answer|guess|slip)\b"
    r"|\b(?:forgetting|neglecting|overlooking|misreading|misusing|miscounting)\b[^,]*\Z"
)
_QUOTE_BEFORE = re.compile(r"[\"'`\u2018\u201c\u00ab][\s$\\(\[{*_]*\Z")
_QUOTE_AFTER = re.compile(r"\A[\s$\\)\]}*_.,]*[\"'`\u2019\u201d\u00bb]")

_UNDONE = [
    re.compile(pattern)
    for pattern in (
        r"\A[\s$\\)\]}.,*_]*(?:\u2260|\\neq?|!=)",
        r"(?:\b(?:not|never|cannot|hardly)|n['\u2019]t)(?:\s+\w+){0,3}?\s+(?:right|correct|true|valid|answer|work|possible"
        r"|hold|fit|satisfy|make sense|acceptable|enough|allowed|be|an? (?:integer|solution|option))\b",
        r"\b(?:is|was)(?: not|n['\u2019]t) (?:it|what)\b",
        r"\b(?:is|was|be|are|seems?|looks?|feels?|turns out)\s+(?:\w+\s+){0,2}?(?:wrong|incorrect|false|invalid"
        r"|impossible|mistaken|absurd|nonsense|unlikely|ruled out|rejected|excluded"
        r"|too (?:big|large|small|low|high|many|much|few|little)"
        r"|an? (?:mistake|trap|decoy|distractor|red herring|lie|guess|wrong|common|typical|possible))\b",
        r"\bif (?:you|one|we|i|they|he|she) (?:forg[eo]t|ignore|neglect|overlook|misread|misuse|miscount|skip)",
        r"\b(?:says|said|claim(?:s|ed)|according to|supposedly|allegedly|unless|fails)\b",
        r"\A\W*(?:(?:it|which|that|would|is|does|must|can) )*(?:contradict|violat|extraneous|leads? to an? contradiction)",
        r"\A\W*(?:minus|plus|squared|cubed|divided by|multiplied by|and a (?:half|third|quarter))\b",
        r"\bwould (?:be|have been)\b.*\bif\b",
        r"\b(?:misprint|typo|falls? short|off by|just misses|remains to be|(?:upper|lower) bound|but not (?:quite|exact|right))\b",
        r"\b(?:naive|would (?:say|think|guess)|the (?:truth|reality) is)\b",
        r"\A[\s$\\)}]*[,;]\s*[$\\(]*-?\d[\d.,]*[$)]*\s*\Z",
        r"\bbut (?:the (?:actual|real|true|correct|right|final)|it['\u2019 ]i?s|actually|in fact|really)\b",
    )
]
_PART_BEFORE = re.compile(
    r"(?:\d\.(?=\Z|\$)|\^\s*\{?|[\d)}]\s*\*|[/+\d]|\\(?:cdot|times|div|sqrt|[dt]?frac|lnot|neg|not)\s*\{?|\}\s*\{|\u00ac)[\s$]*\Z"
)
_PART_AFTER = re.compile(
    r"\A\$?\s*(?:\^(?!\s*\{?\s*\\circ)|\d|\{|[/+*]\s*[\d\\(]|\\(?:cdot|times|div|pm)(?![a-z])|\u00b1)"
)
_ALTERNATIVE = re.compile(r"\A\W*(?:(?:or|versus|vs)\b|and\s+[$\\(]*-?\d)")
_REASON = re.compile(r"[\s$\\)\]}.,*_]*(?:because|since|as)\b")
_TAG = re.compile(r"</?[a-z]+>")
_RETRACTED = re.compile(
    r"\bwait\b\s*[,.!\u2026\u2014-]|\b(?:oops|scratch that|correction|sorry|on second thought|kidding|joking)\b"
    r"|\bbut (?:i|we) (?:cannot|can['\u2019]t|will not|won['\u2019]t)\W*\Z"
    r"|\b(?:i|we) (?:cannot|can(?:no|['\u2019])t|could(?: not|n['\u2019]t)"
    r"|do(?: not|n['\u2019]t)) (?:solve|answer|know)\b|\b(?:i|we) (?:give up|retract"
    r"|take (?:it|that) back)\b|\n\W*(?:edit|update)\W*:"
    r"|\balternatively,?\s+(?:the answer|[-$\\(*]*\d)"
    r"|\b(?:disregard|ignore|forget)\s+(?:that|this|the|my|it)\b|\b(?:i|we) (?:was|were|am|are) (?:wrong|mistaken|lying)\b"
    r"|\b(?:that|this|it|the (?:above|answer))(?:['\u2019]s| is| was)\s+(?:\w+\s+)?(?:wrong|incorrect|false|invalid"
    r"|not (?:right|correct|true|the answer)|an? (?:mistake|error|lie))\b"
    r"|\b(?:that|this|it|the (?:above|answer)) (?:isn|wasn)['\u2019]t\s+(?:\w+\s+)?(?:right|correct|true|the answer)\b"
    r"|\bmade an? (?:\w+ )?(?:mistake|error)\b|\bshould (?:actually |really )?(?:be|have been)\s+[$\\]*[-\d]"
    r"|(?:\A|[.!?,\n\u2026\u2014-])\s*(?:hm+\W+|oh\W+)?no\s*[,.:;!\u2014-]"
    r"|\b(?:actually|in fact|rather|instead),?\s+(?:it|the|that|[-$\\(*]*\d)|\b(?:i|we) meant?\b"
    r"|\bmake (?:that|it)\s+[-$\\(*]*\d|\b(?:strike|cancel|undo) that\b|\bon (?:reflection|second thoughts)\b"
    r"|\blet me (?:correct|redo|fix|revise|change)\b"
)


def why_not_asserted(text: str, start: int, end: int) -> str:
    """Why the answer at text[start:end] is not asserted, or "" when it is."""
    before = _sentence_before(text[max(0, start - _SIDE) : start].lower())
    after = _TAG.sub(" ", text[end : end + _SIDE].lower())
    if text.startswith("\\", start) and (_PART_BEFORE.search(before) or _PART_AFTER.search(after)):
        return "the answer is part of a larger expression"
    if _QUOTE_BEFORE.search(before) and _QUOTE_AFTER.search(after):
        return "the answer is quoted"
    clause = _CONCLUDES.split(before)[-1]
    if _denied(clause):
        return "the answer is denied"
    if any("," not in clause[found.end() :] for found in _CONDITION.finditer(clause)):
        return "the answer is supposed, not asserted"
    if _MISTAKE.search(before) or any(pattern.search(clause) for pattern in _DOUBTFUL):
        return "the answer is doubted, or somebody else's"
    stop = _SENTENCE_END.search(after + " ")
    rest = after[: stop.start()] if stop else after
    rest, broken, _ = rest.partition("\n")
    if stop and not broken and stop[0][0] == "?":
        return "the answer is asked, not asserted"
    if _ALTERNATIVE.match(after):
        return "another answer is offered"
    if _REASON.match(rest):
        # What the others are is a reason, and no word on this answer: "B, because A is wrong".
        rest = ""
    if any(pattern.search(rest) for pattern in _UNDONE) or _RETRACTED.search(text[end : end + _LATER].lower()):
        return "the answer is taken back"
    return ""


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
