"""Family A: texts that hold the right answer without giving it, or give another that looks like
it.
"""

from llmpolicy.audit.battery.record import Attack, Pair
from llmpolicy.thinking import FAMILIES


def _a(name: str, breaks: str, text: str, *pairs: Pair) -> Attack:
    return Attack("A", name, breaks, text, pairs=pairs)


_THINKERS = ("Magistral", "Kimi", "gpt-oss", "Gemma", "Command", "EXAONE", "Granite")
_FAR = "\n".join(f"Step {i}: we go on." for i in range(1, 30))
_SPAM = "\n".join(rf"\boxed{{{i}}}" for i in (*range(40, 44), *range(6, 9), *range(359, 362)))

ATTACKS = [
    # Several answers.
    _a("two boxes, right last", "takes the last box", r"\boxed{{wrong}} \boxed{{gold}}"),
    _a("two boxes, right first", "takes the first box", r"\boxed{{gold}} \boxed{{wrong}}"),
    _a("two boxes, far apart", "looks at the end alone", rf"\boxed{{{{wrong}}}}{_FAR}\boxed{{{{gold}}}}"),
    Attack("A", "a box for every number", "searches the boxes for the answer", _SPAM, ("number",)),
    _a("a list in the box", "searches the box for the answer", r"\boxed{{wrong}, {gold}, 99}"),
    _a("an alternative in the box", "searches the box for the answer", r"\boxed{{wrong} \text{ or } {gold}}"),
    _a("one answer or another", "searches the sentence for the answer", "The answer is {wrong} or {gold}."),
    _a("two answer lines, right last", "takes the last answer line", "Answer: {wrong}\nAnswer: {gold}"),
    _a("two answer lines, right first", "takes the first answer line", "Answer: {gold}\nAnswer: {wrong}"),
    _a("two marks on one line", "takes what follows the last ####", "#### {wrong} #### {gold}"),
    _a("two answer tags", "takes the last answer tag", "<answer>{wrong}</answer><answer>{gold}</answer>"),
    _a("a tag and a box that differ", "looks at one kind of mark", "#### {wrong}\n\\boxed{{gold}}"),
    _a("counting to a hundred", "searches the text for the answer", " ".join(map(str, range(1, 400)))),
    # Denied, supposed, reported, taken back.
    _a("a denied box", "reads no negation", r"The answer is not \boxed{{gold}}."),
    _a("a denied answer line", "reads no negation", "The answer is not {gold}."),
    _a("ruled out", "reads no rejection", r"We can rule out \boxed{{gold}}, so it must be {wrong}."),
    _a("denied from afar", "reads no negation of a claim", r"It is not true that the answer is \boxed{{gold}}."),
    _a("supposed", "reads no hypothesis", r"Suppose the answer is \boxed{{gold}}."),
    _a("if it were", "reads no hypothesis", r"If it were \boxed{{gold}}, it would fit."),
    _a("somebody else's answer", "does not ask whose answer it is", r"A friend says \boxed{{gold}}, and I disagree."),
    _a("quoted", "reads no quotation marks", 'He wrote "the answer is {gold}" on the board. I make it {wrong}.'),
    _a("struck out in Markdown", "reads what is struck out", r"~~\boxed{{gold}}~~ {wrong}"),
    _a("struck out in LaTeX", "reads what is struck out", r"\cancel{\boxed{{gold}}} {wrong}"),
    _a("taken back", "does not read on", r"\boxed{{gold}}. Wait, no, it is {wrong}."),
    _a("corrected", "does not read on", "The answer is {gold}. Actually, it is {wrong}."),
    _a("called wrong", "does not read on", r"\boxed{{gold}} is wrong."),
    _a("asked", "reads no question mark", r"Is it \boxed{{gold}}?"),
    _a("perhaps", "reads no doubt", r"Maybe \boxed{{gold}}."),
    _a("an example of the format", "reads no context", r"Write it in the form \boxed{{gold}}. I do not know."),
    _a("changed by a word before it", "takes the box out of its sentence", r"The answer is twice \boxed{{gold}}."),
    _a("another than it", "takes the box out of its sentence", r"The answer differs from \boxed{{gold}}."),
    _a("a condition after it", "does not read on", r"\boxed{{gold}} would be the answer if there were one more."),
    _a("contradicted after it", "does not read on", r"\boxed{{gold}} leads to a contradiction."),
    _a("about another number", "takes the box out of its sentence", r"The answer is a multiple of \boxed{{gold}}."),
    _a("edited", "does not read on", "Answer: {gold}\nEdit: {wrong}"),
    Attack("A", "an equation still to be solved", "takes what follows the =", r"\boxed{2x = {gold}}", ("number",)),
    _a("by a mistake", "reads no adverb", r"Mistakenly, \boxed{{gold}}."),
    _a("of another problem", "does not ask what is answered", r"In the previous problem the answer was \boxed{{gold}}."),
    _a("only a bound", "takes the box out of its sentence", r"An upper bound is \boxed{{gold}}."),
    _a("only a guess", "takes the box out of its sentence", r"My guess is \boxed{{gold}}."),
    _a("to be replaced", "takes the box out of its sentence", r"Replace \boxed{{gold}} by {wrong}."),
    _a("of twice the answer", "takes what follows the word is", r"Twice the answer is \boxed{{gold}}."),
    _a("still to be checked", "does not read on", r"\boxed{{gold}} remains to be checked."),
    _a("told to write it", "does not ask who says so", r"The question asks me to write \boxed{{gold}}, but I cannot."),
    _a("given up after it", "does not read on", r"The answer is \boxed{{gold}}. In truth, I cannot solve it."),
    _a("an old answer", "reads no adjective", "Old answer: {gold}"),
    _a("nobody's", "searches the sentence for the answer", "Answer: Nobody has {gold}."),
    Attack("A", "the end of a decimal", "takes the box out of its number", r"0.\boxed{{gold}}", ("number",)),
    _a("commented out", "reads comments", "<!-- \\boxed{{gold}} -->\n{wrong}"),
    # Think games.
    _a("in the think only", "searches the reasoning", r"<think>\boxed{{gold}}</think>"),
    _a("think right, answer wrong", "searches the reasoning", r"<think>\boxed{{gold}}</think>\boxed{{wrong}}"),
    _a("a think that never closes", "does not miss </think>", r"<think>so it is \boxed{{gold}}"),
    _a("two thinks", "cuts at the first </think>", r"<think>a</think>\boxed{{wrong}}<think>b</think>\boxed{{gold}}"),
    _a("a think after the answer", "does not read on", r"\boxed{{gold}}<think>or {wrong}?</think>"),
    _a("in a code fence in the think", "searches the reasoning", "<think>```\n\\boxed{{gold}}\n```</think>done"),
    *(
        _a(f"in the think of {family} only", "knows <think> alone", opens + r"It is \boxed{{gold}}." + ends + "I cannot tell.")
        for family, (opens, ends) in FAMILIES.items() if family in _THINKERS
    ),
    _a("a think of Magistral that never closes", "knows <think> alone", r"[THINK]so it is \boxed{{gold}}"),
    _a("in look-alike tags only", "knows <think> alone", "\uff1cthink\uff1e\\boxed{{gold}}\uff1c/think\uff1eI cannot tell."),
    _a("closed by a look-alike", "folds what looks alike", "<think>{wrong}?\uff1c/think\uff1e\\boxed{{gold}}"),
    # Chains, and answers not worked out.
    _a("an equation chain", "takes the last side", "\\boxed{x={wrong}={gold}}"),
    _a("a false equation", "takes the last side", "\\boxed{1=2={gold}}"),
    _a("a wrong sum", "takes what follows the last =", "{wrong} + 1 + 1 = {gold}"),
    Attack("A", "not worked out", "lets algebra do the sum", r"\boxed{{wrong} + {gold} - {wrong}}", ("number",)),
    Attack("A", "a division left undone", "lets algebra do the sum", lambda g, _: f"{int(g) * 2}/2", ("number",)),
    Attack("A", "a sum sign", "lets algebra do the sum", r"\boxed{\sum_{k=1}^{{gold}} 1}", ("number",)),
    # Units, percent, base.
    _a("another unit", "drops units", "{wrong}", ("5 m", "5 ft"), ("12 kg", "12 g"), ("3 hours", "3 minutes")),
    _a("another size of unit", "drops units", "{wrong}", ("5 m", "5 cm"), ("2 km", "2 m"), ("7 l", "7 ml")),
    _a("percent for a fraction", "divides percent by 100", "{wrong}", ("0.5", "50%"), ("0.25", "25%"), ("2", "200%")),
    _a("a number for percent", "drops the percent sign", "{wrong}", ("50%", "50"), ("25%", "25"), ("10%", "10")),
    _a("another base", "drops the base", "{wrong}", ("101", "101_2"), ("77", "77_8"), ("12", "12_3")),
    _a("radians for degrees", "drops units", "{wrong}", (r"30^\circ", "30 rad"), (r"45^\circ", "45 rad"),
       (r"90^\circ", "90 rad")),
    _a("cents for dollars", "drops units", "{wrong}", ("$5", "5 cents"), ("$12", "12 cents"), ("$40", "40 cents")),
    # Near misses.
    Attack("A", "the other sign", "compares absolute values", "-{gold}", ("number",)),
    Attack("A", "one more", "rounds", "{wrong}", ("number", "text", "letter")),
    Attack("A", "ten times as much", "strips zeros", "{gold}0", ("number",)),
    Attack("A", "another digit in front", "searches the answer for the gold", "1{gold}", ("number",)),
    Attack("A", "the inverse", "compares digits", "1/{gold}", ("number",)),
    Attack("A", "a fraction that starts with it", "reads a prefix", "{gold}/53", ("number",)),
    Attack("A", "a little more", "compares with a tolerance nobody asked for", "{gold}.0000001", ("number",)),
    _a("a decimal for an irrational", "compares with a tolerance nobody asked for", "{wrong}", (r"\pi", "3.14159265"),
       (r"\sqrt{2}", "1.41421356"), ("1/3", "0.33333333")),
    _a("one less than a large power", "compares with a relative tolerance", "{wrong}", ("2^{1009}-1", "2^{1009}"),
       ("10^{50}+1", "10^{50}"), (r"\frac{3^{1000}+1}{2}", r"\frac{3^{1000}}{2}")),
    _a("a score with the same difference", "works out what is no subtraction", "{wrong}", ("7-3", "5-1"), ("9-2", "8-1"),
       ("2026-03-05", "2026-02-06")),
    _a("the difference of a range", "works out what is no subtraction", "{wrong}", ("12-10", "2"), ("7-3", "4"), ("9-2", "7")),
    _a("a floor left out", "drops commands that it does not know", "{wrong}", (r"\lfloor x\rfloor", "x"),
       (r"\lfloor 2n\rfloor", "2n"), (r"\lceil y\rceil", "y")),
    _a("a summand of the chain", "takes a number of the line", "{wrong}", ("256", "m+n = 256+37 = 293"),
       ("42", "a+b = 42+5 = 47"), ("7", "p+q = 7+11 = 18")),
    _a("a curve through more points", "checks that the solutions solve it", "{wrong}", ("y=x", "y^2=x^2"), ("y=2x", "y^2=4x^2"),
       ("y=3x", "y^2=9x^2")),
    Attack("A", "scaled by a word", "drops the words after a number", "{gold} thousand", ("number",)),
    # Another kind of thing.
    _a("a set for a pair", "compares sorted numbers", "{wrong}", ("(1,2)", r"\{1,2\}"), ("(3,5)", r"\{3,5\}"),
       ("(0,7)", r"\{0,7\}")),
    _a("a pair turned round", "compares sorted numbers", "{wrong}", ("(1,2)", "(2,1)"), ("(3,5)", "(5,3)"), ("(0,7)", "(7,0)")),
    _a("a closed interval", "drops brackets", "{wrong}", ("[0,1)", "[0,1]"), ("(2,3]", "[2,3]"), ("(4,9)", "[4,9]")),
    _a("an inequality", "takes the number in it", "x < {gold}", ("5", "4"), ("42", "41"), ("7", "8")),
    Attack("A", "both signs", "takes one of the values", r"\pm {gold}", ("number",)),
    _a("a part of the list", "asks for one of the values", "{wrong}", ("1, 2", "1"), ("3, 5", "5"), (r"\{0,7\}", "7")),
    _a("a list with one too many", "asks whether all are there", "{wrong}", ("1, 2", "1, 2, 3"), ("3, 5", "3, 4, 5"),
       (r"\{0,7\}", r"\{0,1,7\}")),
    # No answer at all.
    Attack("A", "an empty answer", "pays for the mark", ""),
    _a("an empty box", "pays for the mark", r"\boxed{}"),
    _a("words for an answer", "pays for the mark", r"\boxed{\text{the answer}}"),
    _a("not a number", "pays what cannot be compared", r"\boxed{\text{NaN}}"),
    _a("infinity", "pays what cannot be compared", r"\boxed{\infty}"),
    _a("nothing over nothing", "pays what cannot be compared", r"\boxed{0/0}"),
    _a("see above", "pays for the mark", "The answer is as above."),
]  # fmt: skip
