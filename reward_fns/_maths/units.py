"""Units of measurement: every spelling becomes one canonical word, a product or quotient one sorted
product of powers.
"""

import re

MONEY = "\ue000"
"""Stands for an escaped dollar sign, which is money and not the border of a formula."""

CURRENCY = {"$": "dollar", MONEY: "dollar", "€": "euro", "£": "pound", "¥": "yen", "₹": "rupee"}
_NEVER_IMPLIED = {"%"}
_MAX_CHARS = 60

_UNITS = {
    word: line.split(":")[0]
    for line in """
%: \\% % percent pct percentage
degree: ° ^\\circ ^{\\circ} \\circ degree degrees deg
radian: rad radian radians
dollar: dollar dollars usd
cent: ¢ cent cents
euro: € euro euros eur
pound: £ gbp lb lbs pound pounds
yen: ¥ yen
rupee: ₹ rupee rupees
nm: nm nanometer nanometers nanometre nanometres
µm: µm μm \\mum micrometer micrometers micrometre micrometres
mm: mm millimeter millimeters millimetre millimetres
cm: cm centimeter centimeters centimetre centimetres
m: m meter meters metre metres
km: km kilometer kilometers kilometre kilometres
inch: in inch inches
foot: ft foot feet
yard: yd yard yards
mile: mi mile miles
mg: mg milligram milligrams
g: g gram grams
kg: kg kilogram kilograms
ounce: oz ounce ounces
ton: ton tons
tonne: tonne tonnes
ms: ms millisecond milliseconds
second: s sec second seconds
minute: min minute minutes
hour: h hr hrs hour hours
day: day days
week: week weeks
month: month months
year: year years
ml: ml milliliter milliliters millilitre millilitres
liter: l liter liters litre litres
gallon: gallon gallons
mile/hour: mph
km/hour: kph kmh
unit: unit units
celsius: °c celsius
fahrenheit: °f fahrenheit
kelvin: K kelvin kelvins
newton: N newton newtons
kilonewton: kN kilonewton kilonewtons
joule: J joule joules
kilojoule: kJ kilojoule kilojoules
electronvolt: eV electronvolt electronvolts
watt: W watt watts
kilowatt: kW kilowatt kilowatts
volt: V volt volts
ampere: ampere amperes amp amps
ohm: Ω \\Omega ohm ohms
coulomb: coulomb coulombs
tesla: tesla teslas
farad: farad farads
pascal: Pa pascal pascals
kilopascal: kPa kilopascal kilopascals
atmosphere: atm atmosphere atmospheres
mole: mol mole moles
hertz: Hz hz hertz
""".strip().splitlines()
    for word in line.split(":")[1].split()
}
_NAMED_POWER = re.compile(r"(square|sq\.?|cubic|cu\.?)\s+(\S+)", re.IGNORECASE)
_FACTOR = re.compile(r"([^\s^]+)(?:\^\{?(-?\d)\}?)?")
_QUOTIENT = re.compile(r"\\frac\s*\{([^{}]*)\}\s*\{((?:[^{}]|\{[^{}]*\})*)\}")


def read_unit(text: str) -> str | None:
    """The canonical name of the unit that this text is, "" for none, None when it is not a known
    unit.
    """
    text = text.strip().removesuffix(".").rstrip()
    if not text:
        return ""
    if text in CURRENCY:
        return CURRENCY[text]
    return plain_unit(text) or _product(text)


def plain_unit(text: str) -> str | None:
    """The canonical name of a unit that is one word."""
    word = _UNITS.get(text)
    if word is None and (len(text) > 1 or text == "L"):
        word = _UNITS.get(text.lower())
    return word and _joined(dict(_powers(word)))


def units_agree(gold: str, answer: str) -> bool:
    """Whether two units can belong to the same answer: the same, or one of them left unsaid."""
    return gold == answer or (not (gold and answer) and not {gold, answer} & _NEVER_IMPLIED)


def _product(text: str) -> str | None:
    """A product or quotient of units, as in ``m/s^2``, ``kg m s^{-2}``, ``miles per hour`` and
    ``J/(mol K)``.
    """
    if len(text) > _MAX_CHARS:
        return None
    text = _QUOTIENT.sub(r"\1/(\2)", text)
    text = re.sub(r"per\s+cent\b", "percent", text, flags=re.IGNORECASE)
    text = _NAMED_POWER.sub(lambda m: f"{m[2]}^{'2' if m[1][0] in 'sS' else '3'}", text)
    text = re.sub(r"\s*\^\s*", "^", re.sub(r"\\cdot(?![a-z])|[*\u00b7]", " ", text))
    top, *bottoms = re.split(r"\s*/\s*|\s+per\s+", text)
    powers: dict[str, int] = {}
    for number, part in enumerate([top, *bottoms]):
        sign = 1
        if number:
            part, sign = part.strip().removeprefix("(").removesuffix(")"), -1
        for factor in part.split():
            written = _FACTOR.fullmatch(factor)
            word = written and (_UNITS.get(written[1]) or plain_unit(written[1]))
            if not written or not word:
                return None
            for name, power in _powers(word):
                powers[name] = powers.get(name, 0) + sign * power * int(written[2] or 1)
    return _joined(powers) or None


def _powers(word: str) -> list[tuple[str, int]]:
    top, slash, bottom = word.partition("/")
    return [(top, 1), (bottom, -1)] if slash else [(top, 1)]


def _joined(powers: dict[str, int]) -> str:
    written = [f"{name}^{power}" for name, power in sorted(powers.items()) if power]
    return " ".join(factor.removesuffix("^1") for factor in written)
