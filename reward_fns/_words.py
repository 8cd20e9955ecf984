"""The words of ten languages that mark an answer, deny one, or scale a number."""

import re

_ANSWERS = r"""
en (?:answer|(?:correct|right|best|final) (?:option|choice|letter|result))
de (?:antwort|endergebnis|lösungsbuchstabe)
fr réponse(?: (?:finale|correcte|exacte|juste))?
es respuesta(?: (?:final|correcta))?
pt resposta(?: (?:final|correta|certa))?
it risposta(?: (?:finale|corretta|giusta|esatta))?
ru ответ
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
de nicht|kein\w*|nie|niemals|weder|falsch\w*|wäre|würde|könnte|vielleicht|vermutlich|möglicherweise|unmöglich
de sagt|meint|behauptet|glaubt|laut|irrt\w*|buch (?:steht|nennt)
fr pas|jamais|fau(?:x|sse)|mauvaise?|incorrecte?|erronée?|serait|pourrait|peut-être|selon|prétend|dit|livre donne
es no (?:es|son|está|creo|puede|será|sería|sea|fue)|nunca|jamás|quizás?|tal vez|dice que|libro dice|según
es fals[oa]|incorrect[oa]|erróne[oa]|equivocad[oa]|sería|podría|imposible
pt não|errad[oa]|incorret[oa]|seria|poderia|talvez|diz|segundo o|impossível
it non (?:è|può|sono|credo|ha|sarà|sia)|mai|sbagliat[oa]|errat[oa]|sarebbe|potrebbe|forse|dice che|secondo il
ru не|невер\w*|неправиль\w*|ошиб\w*|никогда|бы|возможно|может быть|написано|говорит|по мнению|невозможн\w*
"""
_DENY_UNSPACED = """
zh 不是|并非|不为|不等于|不可能|不对|不正确|错|錯|不能|不会|不应|不选|并不|不同意|未必|书上|也许|可能是|或许
ja ではありません|ではない|じゃない|間違|誤り|不正解|かもしれ|たぶん
ko 아닙|아니|틀렸|틀린|아마
"""
_SUPPOSE = """
en if|suppos(?:e|ing)|assum(?:e|ing)|imagine|unless|whether|pretend|were it|had it
de wenn|falls|angenommen
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
en hundred|thousand|million|billion|trillion|dozen|lakh|crore
de hundert|tausend|million(?:en)?|milliarden?|dutzend
fr mille|millions?|milliards?|douzaines?
es cien|mil|mill[oó]n(?:es)?|docenas?
pt milh(?:ão|ões)|bilh(?:ão|ões)|dúzias?
it cento|mila|milion[ei]|miliard[oi]|dozzin[ae]
ru тысяч\w*|миллион\w*|миллиард\w*|дюжин\w*
"""


def _any(table: str) -> str:
    """One pattern of a table whose lines begin with a language."""
    return "|".join(line.split(" ", 1)[1] for line in table.strip().splitlines())


ANSWER = rf"(?:(?<![^\W\d_])(?:{_any(_ANSWERS)})|{_any(_ANSWERS_UNSPACED)})"
"""What an answer is called."""
LINK = rf"(?:(?<![^\W\d_])(?:{_any(_LINKS)})(?![^\W\d_])|{_any(_LINKS_UNSPACED)})"
"""What stands between the word for the answer and the answer, in other languages than English."""
FILLER = rf"(?:{_any(_FILLERS)})(?=\s*(?:[\d$\\(*-]|[A-Ja-j]\b))"
DENIES = re.compile(rf"\b(?:{_any(_DENY)})\b|{_any(_DENY_UNSPACED)}")
"""Words of denial and doubt in other languages than English."""
SUPPOSES = re.compile(rf"\b(?:{_any(_SUPPOSE)})\b|{_any(_SUPPOSE_UNSPACED)}")
SCALE = re.compile(
    rf"(?:[^\w\n]|_|\\text\w*|\\mathrm)*((?:{_any(_SCALES)})s?\b|[百万萬亿億억만천]|千(?![克米瓦]))", re.IGNORECASE
)
"""A word after a number that multiplies it."""
PERCENT = re.compile(
    r"(?:[^\w\n]|_|\\text\w*|\\mathrm)*(?:per ?cents?|prozent|pour ?cent|por ?ciento|por cento|per cento|процент\w*"
    r"|パーセント|퍼센트)(?!\w)",
    re.IGNORECASE,
)
