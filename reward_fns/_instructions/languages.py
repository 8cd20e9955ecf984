"""Which language a text is in: by its script, and among languages that share one by their commonest
words.
"""

import re
from collections import Counter

from .._text.scripts import SCRIPTS, in_scripts

_WORDS = """
de:der die das und ist nicht ein eine zu den mit von sich auf für im dem auch es wie
en:the of and to in is that it was for with as on are this be at have not you
es:el la los las de que y en un una es se por con para del como su al lo
fr:le la les des et en un une est que dans pour qui du pas sur au plus avec ce
id:yang dan di untuk dengan ini itu dari tidak pada adalah dalam ke akan juga
it:il lo la gli di che e un una è per non in con del della sono si come più
nl:de het een van en is in dat op te zijn niet voor met aan er maar om ook
pl:i w na z do nie się jest to że o jak za ale przez dla od są czy
pt:o a os as de que e do da em um uma é para com não no na se por
sv:och att det är en som på för av med den till inte har de ett om var
tr:ve bir bu için ile de da çok daha olarak gibi olan ne ama her
vi:và của là có không trong cho một được với các này những để người
fi:ja on ei se että oli kun mutta niin myös ovat joka hän tai voi kuin
sw:na ya wa kwa ni katika za la kuwa hii yake au cha kama
bg:и на да се за в от не е с са това ще по като
ru:и в не на что с как это по но из у за от так
uk:і в не на що з як це та до у за від є
mk:и на во да се за од не е со што ќе како
be:і ў не на што з як гэта да у за ад ёсць
sr:и у је да се на за не од са што су као
ar:في من على إلى أن هذا التي الذي مع عن كان ما لا هو
fa:و در به از که این را با است برای آن یک می
ur:کے میں کی ہے اور سے کا کو یہ پر نے کہ ہیں
hi:के है में की और से का को यह पर हैं ने कि
mr:आहे आणि च्या हे ते या मध्ये होते तर की नाही
ne:को छ र मा हो यो का पनि लागि गर्न हुन्छ
"""
_COMMON: dict[str, frozenset[str]] = {}
for _line in _WORDS.split("\n")[1:-1]:
    _language, _, _words = _line.partition(":")
    _COMMON[_language] = frozenset(_words.split())


def known(language: str) -> bool:
    """Whether `is_in` can tell this language."""
    return language in _COMMON or language in SCRIPTS


def is_in(text: str, language: str) -> bool:
    """Whether most letters are of the language's script, and no other language of that script has
    more of its words.
    """
    # All that SCRIPTS leaves out is Latin.
    count, total = in_scripts(text, language if language in SCRIPTS else "en")
    if total <= 0 or count < total / 2:
        return False
    if language not in _COMMON:
        return True
    words = Counter(re.findall(r"[^\W\d_]+", text.lower()))
    seen = _seen(words, language)
    if seen == 0:
        return False
    names = SCRIPTS.get(language, ("Latin",))
    rivals = [rival for rival in _COMMON if SCRIPTS.get(rival, ("Latin",)) == names]
    return seen == max(_seen(words, rival) for rival in rivals)


def _seen(words: Counter[str], language: str) -> int:
    """How many of the words are common ones of the language."""
    return sum(map(words.__getitem__, _COMMON[language]))
