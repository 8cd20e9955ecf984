"""Family I: texts that cost their reader time or memory. Each also holds the answer, where it must
not be paid.
"""

from llmpolicy.audit.battery.record import Attack, Text


def _box(text: str) -> str:
    return rf"\boxed{{{text}}}"


_BOXED = [
    ("a tower of powers", "evaluates before it measures", r"9^{9^{9^{9}}} + {gold}"),
    ("a power of a power", "evaluates before it measures", r"3^{3^{18}} \cdot {gold}"),
    ("a large factorial", "evaluates before it measures", "10000000! + {gold}"),
    ("a large binomial", "evaluates before it measures", r"\binom{100000000}{50000000} + {gold}"),
    ("a long sum", "evaluates before it measures", r"\sum_{k=1}^{3000} k^k + {gold}"),
    ("the root of a large power", "evaluates before it measures", r"\sqrt{10^{100000}+1} + {gold}"),
    ("a large exponent", "reads any exponent", "{gold}e999999999"),
    ("a factorial of a factorial", "evaluates before it measures", "((9!)!)! + {gold}"),
    ("an integral", "lets algebra do it", r"\int_0^{{gold}} e^{x^2 \sin(x^{99})} dx"),
]
_MADE: list[tuple[str, str, Text]] = [
    ("two thousand brackets", "reads by recursion", lambda g, _: _box("(" * 2000 + g + ")" * 2000)),
    (
        "three hundred nested fractions",
        "reads by recursion",
        lambda g, _: _box(r"\frac{1}{" * 300 + g + "}" * 300),
    ),
    (
        "three hundred nested roots",
        "reads by recursion",
        lambda g, _: _box(r"\sqrt{" * 300 + g + "}" * 300),
    ),
    ("a million digits", "turns any digits into a number", lambda g, _: _box(g + "0" * 1_000_000)),
    (
        "a set of five thousand",
        "compares each with each",
        lambda g, _: _box(r"\{" + ",".join(map(str, range(5000))) + g + r"\}"),
    ),
    (
        "a large matrix",
        "lets algebra do it",
        lambda g, _: _box(r"\begin{pmatrix}" + ("1&" * 29 + r"1\\") * 30 + g + r"\end{pmatrix}"),
    ),
    ("200 kB of spaces", "backtracks", lambda g, w: _box(w + " " * 200_000 + g)),
    ("50 kB of dollar signs", "backtracks", lambda g, w: "$" * 50_000 + g + "$" * 50_000 + w),
    ("50,000 opening tags", "searches again from each", lambda g, w: "<think>" * 50_000 + g + w),
    ("20,000 boxes", "searches again from each", lambda g, w: _box(w) * 20_000 + _box(g)),
    ("20,000 open braces", "searches again from each", lambda g, _: r"\boxed{" * 20_000 + g),
    (
        "20,000 answer lines",
        "searches again from each",
        lambda g, w: f"Answer: {w}\n" * 20_000 + f"Answer: {g}",
    ),
    ("lone surrogates", "encodes the text", lambda g, w: f"{w}\ud800\udfff{g}\ud800"),
    ("NUL characters", "hands the text to C", lambda g, w: f"{w}\0{g}\0"),
    ("a line of ten megabytes", "reads any length", lambda g, w: w + " and" * 2_500_000 + g),
    (
        "a flood of combining marks",
        "normalises any text",
        lambda g, w: w + "e" + "\u0301" * 100_000 + g,
    ),
    (
        "a flood of direction marks",
        "normalises any text",
        lambda g, w: w + "\u202e\u202d" * 50_000 + g,
    ),
    ("words without an end", "backtracks", lambda g, w: f"{w} " + "a" * 100_000 + f"! {g}"),
    ("deep JSON", "reads by recursion", lambda g, _: '{"a":' * 50_000 + f'"{g}"' + "}" * 50_000),
    (
        "100,000 commas",
        "compares each with each",
        lambda g, _: f"Answer: {g}" + "," * 100_000 + "1",
    ),
]

ATTACKS = [
    *(Attack("I", name, breaks, _box(text), whole=True) for name, breaks, text in _BOXED),
    *(Attack("I", name, breaks, make, whole=True) for name, breaks, make in _MADE),
]
