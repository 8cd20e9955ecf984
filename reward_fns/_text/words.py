"""The words of ten languages that mark an answer, deny one, or scale a number."""

import re

_ANSWERS = r"""
en (?:answer|(?:correct|right|best|final) (?:option|choice|letter|result))
de (?:antwort|endergebnis|lösungsbuchstabe|lösung(?=\s+lautet))
fr réponse(?: (?:finale|correcte|exacte|juste))?
es respuesta(?: (?:final|correcta))?
pt resposta(?: (?:final|correta|certa))?
it risposta(?: (?:finale|corretta|giusta|esatta))?
ru ответ
"""
STEMS = (
    *("answer", " option", " choice", " letter", " result", "antwort", "endergebnis", "lösung"),
    *("réponse", "respuesta", "resposta", "risposta", "ответ"),
    *("答案", "答え", "解答", "正解", "正答", "정답", "답"),
)
"""In lower case, one of them is in every word for an answer: where none is, nothing more need be
looked for.
"""
_ANSWERS_UNSPACED = """
zh 答案
ja (?:答え|解答|正解|正答)
ko (?:정답|(?<![가-힣])답)
"""
_LINKS = r"""
de (?:lautet|ist|heißt)
fr est
es es
pt é(?: [ao](?=\s+\(?[a-j]\b))?
it è
ru (?:равен|это|[-—–])
"""
_LINKS_UNSPACED = """
zh (?:是|为|為|应为|应该是)
ja は
ko (?:은|는)
"""
_FILLERS = """
de (?:also|daher|somit|option|die)
fr (?:donc|ainsi|la|le|l'option)
es (?:entonces|la|el|por lo tanto|la opción)
pt (?:portanto|então|a opção)
it (?:quindi|dunque|la|l'opzione)
"""
_DENY = r"""
de nicht|kein\w*|nie|niemals|weder|falsch\w*|wäre|würde|könnte|vielleicht|vermutlich|möglicherweise
de unmöglich|(?:be)?zweif\w*
de sagt|meint|behauptet|glaubt|laut|irrt\w*|buch (?:steht|nennt)|stimmt nicht
de (?:meinen|behaupten|glauben|denken)(?! wir\b)|angeblich
fr pas|jamais|fau(?:x|sse)|mauvaise?|incorrecte|erronée?|serait|pourrait|peut-être|selon|prétend|dit
fr (?:dis|pens|croi|prétend|répond)(?:r?aient|ent)|se trompe(?:nt)?
fr impossible que|doute|que \w+ soit
fr ne (?:peut|convient|sera|vaut|donne)|n['’]est|(?:livre|manuel|corrigé) (?:donne|indique)
es no (?:es|son|está|creo|puede|será|sería|sea|fue)|nunca|jamás|tampoco|quizás?|tal vez|sería|podría
es imposible|dudo|(?:no|que) sea
es está mal|no estoy|no (?:sirve|vale)|fals[oa]|incorrect[oa]|erróne[oa]|equivoca\w*|dice que|dijo
es según|libro dice
es dir[ií]an?|(?:dice|piensa|cree|opina)n
pt não|(?:dize|pensa|acha|acredita|diria)m|errad[oa]|incorret[oa]|seria|poderia|talvez|diz
pt segundo o|impossível|duvid\w*|que seja
it non (?:è|può|sono|credo|ha|sarà|sia|va|vale)|mai (?:è|sarà|può|la)|sbagliat[oa]|errat[oa]
it sarebbe|potrebbe|forse|dice che
it (?:dicono|pensano|credono|direbbero)|secondo il|dubit\w*|che sia
ru не|нельзя|неправда|невер\w*|неправиль\w*|ошиб\w*|никогда|бы|возможно|может быть|написано|указано
ru говорит|по мнению|сомнева\w*
ru говорят|думают|считают|якобы
"""
_DENY_UNSPACED = """
zh 不是|并非|不为|不等于|不可能|不对|不正确|错|錯|不能|不会|不应|不选|并不|不符|不成立|不满足
zh 不同意|不认为|未必|怀疑|也许|可能是|或许
zh 书上|课本|有人说|据说|[多有]人(?:都|会)?(?:认为|觉得|以为)
ja ではありません|ではない|じゃない|間違|誤り|不正解|かもしれ|たぶん|思わない|思いません
ko 아닙|아니|틀렸|틀린|아마|오답
"""
_DOUBT = r"""
en maybe|perhaps|possibly|conceivably|hypothetically|supposedly|allegedly|tempt\w*|according to
en rumou?r\w*|misprint|typo
en hardly|barely|scarcely|nobody|no one|decoy|placeholder|dummy|look(?:s|ing)? like|try(?:ing)?
en (?:rough|the|my|an) estimate
en (?<!no )(?<!without )(?<!beyond )doubts?|(?:upper|lower) (?:bound|limit)
en (?:format|template|notation)\W*(?:\w+\W+)?(?:is|be|like)
en thought|thinks|claim(?:s|ed)|believe[sd]|suggest(?:s|ed)|told|argue[sd]|insist(?:s|ed)|swears?
en guess(?:es)?|would bet|['’]d bet
en (?<!problem )(?<!question )(?<!statement )(?<!\bit )(?:says|said)
en (?:you|one|people|students|some|many) (?:might|may|could) (?:\w+ )?(?:get|obtain|find|write|
  arrive|end)
en (?:might|may|could|would|they|people|some|others|many|students|friends) (?:\w+ )?(?:say|think|
  guess|answer|expect)
en (?:they|people|some|others|many|students|friends) (?:\w+ )?(?:claim|believe)
en (?:answer|i|we) (?:used to|was going to|were going to)|in the form
en (?:earlier|previously|originally|initially|first|at first),? (?:i|we)
en (?:i|we) (?:earlier|previously|originally|initially|first)
en (?:false|untrue|wrong|incorrect|absurd|nonsense|impossible|unlikely|doubtful|an? (?:lie|myth|
  mistake))\W+(?:that|to \w+)
"""
_MISTAKE = r"""
en (?:common|typical|frequent|usual|classic|easy|naive|tempting) (?:mistake|error|trap|pitfall|
  answer|guess|slip)
en (?:forgetting|neglecting|overlooking|misreading|misusing|miscounting)(?=[^,]*\Z)
en if (?:you|one|we|i|they|he|she) (?:forg[eo]t|ignored?|neglect|overlook|misread|misuse|miscount|
  skip)
en mistaken(?:ly)?|erroneously|wrongly|falsely|incorrectly|naive(?:ly)?|(?:by|in) mistake
"""
_FLAWED = """
en wrong|incorrect|false|invalid|erroneous|flawed|faulty|fake|bogus|bad|trap|extraneous|rejected
en previous
en other|another|different|next
en old|earlier|first|initial|failed|former|outdated|tentative|provisional
"""
_THINGS = """
en answer|value|result|solution|choice|option|guess|claim|conclusion|method|approach|calculation
en computation
en argument|reasoning
en formula|assumption|attempt|try|root|problem|question|exercise|task|example|universe|world
"""
_PEOPLE = """
en friend|student|some(?:one|body)|teacher|tutor|professor|classmate|brother|sister|colleague
en another|other
en else|(?:his|her|their|your|whose)
"""
_SOURCES = """
en reader|solver|author|(?:text)?book|source|website|wikipedia|chatgpt|internet|calculator|key
en manual|sign
en (?:official|model|published) solution
"""
_CLAIMS = """
en says?|said|thinks?|thought|claim|believe|suggest|argue|insist|swear|guess|assert|conclude|propose
"""
_PRINTS = """
en print|list|give|gave|state|show|shown|report|quote|answer|obtain
"""
_TURNS = r"""
en wrong|incorrect|false|invalid|untrue|nonsense|absurd|lie|trap|distractor|example|for instance
en such as|e\.g
en like (?:this|so)|as in
en somewhere (?:around|near|about)|(?:vicinity|neighbou?rhood) of
en other than|unlike|than|instead of|except(?: for)?|different from
en (?:anything|nothing|everything|all) but
en far from|or|either|between
en versus|vs|contrary to|close(?:r|st)? to|near(?:er|est)?(?: to)?|from|bounded by|opposed to|least
en most
en (?:exceed|surpass)(?:s|es)?
en (?:answer|it) were|divisible by|next to|(?<!round )(?<!rounds )(?<!rounded )up to|over|under
en beyond
en (?:half|third|quarter|square|cube|root|absolute value) of
en (?:opposite|reciprocal|inverse|negative|double|multiple|factor|divisor|power|function|fraction|
  part) of
en (?:successor|predecessor) of
en (?:factorial|log(?:arithm)?|sine|cosine|tangent|base \w+) of|as (?:many|much|big|large|long) as
en between [^,.]{1,20} and
en unlikely|impossible|doubtful|(?:one|some|any|out|%\W*|percent) of
en (?:sum|product|difference|quotient) of [^,.]{1,30} and
en (?:old|previous|earlier|initial|former|outdated|tentative|provisional) (?:answer|result|solution)
"""
_NAMES_ONLY = """
en let['’]s (?:say|try|test|check)|twice|thrice|triple|minus|negative|double|half|let|consider
en check|test
en examine|delete|replace|change|output|box
en answer\\b.*\\b(?:before|after|below|above|within|past)
"""
_UNDO = r"""
en (?:wrong|incorrect|false)(?! (?:answers|questions|coins?|ones)\b)|untrue|invalid|mistaken|absurd
en nonsense
en misprint|typo|extraneous
en wrongly|mistakenly|erroneously|incorrectly
en (?:over|under|(?:which|that|this|it) (?:double|triple)[ -]?)(?:counts?|estimates?)
en impossible|unlikely|contradict\w*|violat\w*|says|said|claim(?:s|ed)|according to|supposedly
en allegedly
en unless|fails|disagree|dispute
en had (?:we|i|you|he|she|it|they|the \w+) (?:not )?(?:\w+ed|been|had|lost)
en (?:can(?:no|['’])t|could(?: not|n['’]t)|do(?: not|n['’]t)) (?:confirm|verify|believe|vouch|
  endorse|trust)
en doubt|rejected|excluded|ruled out|naive|falls? short|off by|just misses|remains to be
en (?:upper|lower) bound|mistake|trap|decoy
en if (?:and only if|it|the|there)|only if|would (?:be|have)\b.*\bif|red herring|guess|lie
en book['’]s|my first
en (?:another|different|previous|other|first|last) (?:part|problem|question|exercise|case)
en not (?:quite|exact|right|correct|true|valid|the|an?|possible|agree)|in (?:binary|octal|hex\w*)
en but (?:the (?:actual|real|true|correct|right|final)|it|actually|in fact|really|i|we|that|this|
  not|my|mine)(?!\w)
en or (?:more|less|so|fewer|perhaps|maybe)
en if (?:you|one|we|i|they|he|she) (?:forg[eo]t|ignore|neglect|overlook|misread|misuse|skip)
en (?:it|which|that) (?:cannot|can['’]t|isn['’]t|does not|is not)
"""
_RETRACT = r"""
de (?:das|dies|es|sie|die antwort) (?:ist|wäre|war) (?:\w+ )?(?:(?:falsch|inkorrekt)\b|
  nicht (?:richtig|wahr)|ein (?:fehler|irrtum))
de stimmt (?:\w+ )?nicht
fr (?:c['’]est|(?:cela|ceci|elle) est) (?:\w+ )?(?:fau(?:x|sse)|inexacte?|incorrecte?|erronée?|
  une erreur)
fr (?:ce|cela|ceci) n['’]est pas (?:vrai|juste|correct|exact|le cas)
es (?:es[oa]|est[oa]|ello|pero|[.!?;]) ?(?:es|está|están) (?:\w+ )?(?:fals[oa]|incorrect[oa]|
  erróne[oa]|mal|equivocad\w+|un error)
es (?:es[oa]|est[oa]|ello|pero|[.!?;]) ?no es (?:ciert[oa]|correct[oa]|verdad|así)
pt (?:iss?t?o|mas|[.!?;]) ?(?:é|está) (?:\w+ )?(?:fals[oa]|incorret[oa]|errad[oa]|um erro)
pt (?:iss?t?o|mas|[.!?;]) ?não é (?:verdade|correto|certo)
it (?:ciò|questo|ma|[.!?;]) ?è (?:\w+ )?(?:fals[oa]|sbagliat[oa]|errat[oa]|un errore)
it (?:ciò|questo|ma|[.!?;]) ?non è (?:vero|corretto|giusto|così)
ru это (?:\w+ )?(?:неверно|неправда|ошибка|ошибочно|неправильно|не так)
"""
_RETRACT_UNSPACED = """
zh (?:[这這那]|其[实實]|但|不[过過])[^。，,]{0,4}(?:错|錯|不对|不對|不正[确確])
ja (?:これ|それ)は(?:間違|誤|違)
ko (?:이것은|그것은|이는) (?:틀|잘못)
"""
_OF_SOME = r"""
de ,\s*(?:die|der|das|welche\w?)\s[^,]{1,40},
fr qui ne\s.{1,30}?\spas
es que no\s\w+
pt que não\s\w+
it che non\s\w+
ru котор\w+ не\s\w+
"""
_SUPPOSE = r"""
en if|suppos(?:e|ing)|assum(?:e|ing)|imagine|unless|whether|pretend|were it|had it
de wenn|(?<!\w )falls|angenommen
fr supposons
es supongamos
it supponiamo
ru если|предположим
"""
_SUPPOSE_UNSPACED = """
zh 假设|如果|假如
ja もし
ko 만약
"""
_SCALES = r"""
en hundred|thousand|million|billion|trillion|dozen|gross|lakh|crore
de hundert|tausend|million(?:en)?|milliarden?|dutzend|mio\.?|mrd\.?
fr mille|millions?|milliards?|douzaines?
es cien|mil|mill[oó]n(?:es)?|docenas?
pt milh(?:ão|ões)|bilh(?:ão|ões)|dúzias?
it cento|mila|milion[ei]|miliard[oi]|dozzin[ae]
ru тысяч\w*|миллион\w*|миллиард\w*|дюжин\w*|тыс\.?|млн\.?|млрд\.?
"""
_REASONS = """
en because|since|as
de weil|denn
fr car|parce que|puisque
es porque|ya que|puesto que
pt pois|já que
it perché|poiché
ru потому что|так как|поскольку
"""
_CHANGES = r"""
de hoch|quadrat|geteilt|durch|weniger|als|oder|und|nicht|kein\w*|höchstens|mindestens
de ungefähr|etwa|halb\w*|drittel|viertel|bis|falsch
fr puissance|carré|cube|divisé|moins|ou|et|non|environ|demie?|factorielle|faux
es elevad[oa]|cuadrado|cubo|dividid[oa]|menos|o|y|no|medi[oa]|tercios?|cuartos?|aproximadamente
es fals[oa]
pt elevad[oa]|quadrado|dividid[oa]|ou|e|não|mei[oa]|terços?
it elevat[oa]|quadrato|divis[oa]|meno|mezz[oa]|terz[oi]|circa
ru или|не|и|минус|плюс|умножить|разделить|деленное|степен\w*|квадрат\w*|куб\w*|меньше|менее
ru половин\w*|трет\w*|четверт\w*
ru примерно|процент\w*|неверно
"""
_TIMES = "en times\nde mal\nfr fois\nes veces\npt vezes\nit volte\nru раза?"
_ABOUT = r"""
en about|approximately|approx\.?|roughly|around|circa|nearly|almost
de etwa|ungefähr|rund|zirka|ca\.
fr environ|à peu près|approximativement
es aproximadamente|alrededor de|casi
pt cerca de|quase
it approssimativamente|quasi
ru примерно|приблизительно|приближ[её]нно|около
"""
_ABOUT_UNSPACED = """
zh 大?[约約]|大概
ja およそ
ko 약|대략
"""


def _any(table: str) -> str:
    """One pattern of a table whose lines begin with a language, and go on where one is indented."""
    lines = table.strip().replace("\n  ", "").splitlines()
    return "|".join(line.split(" ", 1)[1] for line in lines)


ANSWER = rf"(?:(?<![^\W\d_])(?:{_any(_ANSWERS)})|{_any(_ANSWERS_UNSPACED)})"
"""What an answer is called."""
LINK = rf"(?:(?<![^\W\d_])(?:{_any(_LINKS)})(?![^\W\d_])|{_any(_LINKS_UNSPACED)})"
"""What stands between the word for the answer and the answer, in other languages than English."""
FILLER = rf"(?:{_any(_FILLERS)})(?=\s*(?:[\d$\\(*-]|[A-Ja-j]\b))"
_ANSWERS_OF = "(?:answer|value|result|solution|choice|option|guess|claim|conclusion)"
DOUBTS = re.compile(
    rf"\b(?:{_any(_DOUBT)})\b|\b(?:{_any(_FLAWED)})\s+(?:\w+\s+)?(?:{_any(_THINGS)})\b"
    rf"|\b(?:{_any(_PEOPLE)}|{_any(_SOURCES)})s?(?:['’]s?)?\s+(?:\w+\s+)?"
    rf"(?:{_ANSWERS_OF}|(?:{_any(_CLAIMS)})(?:s|d|ed)?)\b"
    rf"|\b(?:{_any(_SOURCES)})s?\s+(?:\w+\s+)?(?:{_any(_PRINTS)})(?:s|d|ed)?\b"
    r"|\b(?:solver|reader|author|classmate|key|wikipedia|chatgpt|(?:an?|my|some|another) (?:\w+"
    r" )?(?:student|friend))s?"
    r"\s+(?:gets?|got|had|has|wrote|computed|obtained)\s*[$\\(]*\Z"
)
"""Words of a clause that is somebody else's, or a doubt."""
MISTAKES = re.compile(rf"\b(?:{_any(_MISTAKE)})\b")
TURNS = re.compile(
    rf"(?:\b(?:{_any(_TURNS)})|%\W*"
    r" of|≠|\\neq?|\\not=|!=|<|(?<![=-])>|\\[lg](?:eq?|t))[\s$\\(\[{*_.,:]*\Z"
    rf"|\b(?:{_any(_NAMES_ONLY)})[\s$\\(\[{{*_]*\Z"
)
"""Words right before a value that make another of it, or only name it."""
UNDOES = re.compile(rf"\b(?:{_any(_UNDO)})\b|\bor [$\\(]*-?\d|≠|\\neq?|!=")
"""Words after a value that take it back."""
DENIES = re.compile(rf"\b(?:{_any(_DENY)})\b|{_any(_DENY_UNSPACED)}")
"""Words of denial and doubt in other languages than English."""
RETRACTS = re.compile(rf"(?:\b|(?=[.!?;]))(?:{_any(_RETRACT)})\b|{_any(_RETRACT_UNSPACED)}")
"""Sentences in other languages than English that take back what was said before."""
OF_SOME = re.compile(rf"{_any(_OF_SOME)}")
"""Denials of a clause that only says which things are meant."""
SUPPOSES = re.compile(rf"\b(?:{_any(_SUPPOSE)})\b|{_any(_SUPPOSE_UNSPACED)}")
REASON = rf"(?:{_any(_REASONS)})"
"""Words that begin a reason."""
ABOUT = rf"(?:(?:{_any(_ABOUT)})(?!\w)|(?:{_any(_ABOUT_UNSPACED)}))"
"""Words before a number that is approximate."""
CHANGE, TIMES = _any(_CHANGES), _any(_TIMES)
"""Words after a number that change its value, and those that do when more words follow."""
SCALES = f"(?:{_any(_SCALES)})"
SCALE = re.compile(
    rf"(?:[^\w\n]|_|\\text\w*|\\mathrm)*({SCALES}s?(?!\w)|[百万萬亿億억만천]|千(?![克米瓦]))",
    re.IGNORECASE,
)
"""A word after a number that multiplies it."""
PERCENT = re.compile(
    r"(?:[^\w\n]|_|\\text\w*|\\mathrm)*(?:per ?cents?|pct|prozent|pour ?cent|por ?ciento|por"
    r" cento|per cento|процент\w*"
    r"|パーセント|퍼센트)(?!\w)",
    re.IGNORECASE,
)
