"""Rows as public data sets of programming tasks have them: the columns, programs that are right,
programs that are wrong.

``READ`` are judged, ``REFUSED`` are None with the words given: what cannot be judged is neither
right nor wrong.
"""

import json

ADD = "def add(a, b): return a + b"
SUBTRACT = "def add(a, b): return a - b"
METHOD = "class Solution:\n    def add(self, a: int, b: int) -> int:\n        return a + b"
SUM = "print(sum(map(int, input().split())))"
LAST = "print(input().split()[-1])"
NOTHING = "pass"


def _stdin(*pairs):
    return [{"input": a, "output": b, "testtype": "stdin"} for a, b in pairs]


def _functional(*pairs, **more):
    return [{"input": a, "output": b, "testtype": "functional", **more} for a, b in pairs]


_TWO = {"inputs": ["1 2", "3 4"], "outputs": ["3", "7"]}
_CALLS = {"fn_name": "add", "inputs": [[1, 2], [3, 4]], "outputs": [[3], [7]]}
_PRIME = [{"type": "function_call", "fn_name": "add", "input": [1, 2], "output": [3]},
          {"type": "function_call", "fn_name": "add", "input": [3, 4], "output": [7]}]  # fmt: skip
_PRIME_STDIN = [
    {"type": "stdin_stdout", "fn_name": None, "input": "1 2\n", "output": "3\n"},
    # fmt: skip
    {"type": "stdin_stdout", "fn_name": None, "input": "3 4\n", "output": "7\n"},
]
_PROGRAM = ([SUM], [LAST, NOTHING, "print(3)", "print('3\\n7')"])
_FUNCTION = (
    [ADD, METHOD],
    [SUBTRACT, NOTHING, "def add(a, b): return 3", "def add(a, b): return str(a + b)"],
)
_SORT = "def order(xs): return sorted(xs)"

READ = {
    "APPS programs": ({"tests": _TWO}, *_PROGRAM),
    "APPS programs as JSON": ({"tests": json.dumps(_TWO)}, *_PROGRAM),
    "APPS programs, texts as lines": (
        {"tests": {"inputs": [["1 2"], ["3 4"]], "outputs": [["3"], ["7"]]}},
        *_PROGRAM,
    ),
    "APPS calls": ({"tests": {**_CALLS, "outputs": [3, 7]}}, *_FUNCTION),
    "APPS calls, wrapped": ({"tests": _CALLS}, *_FUNCTION),
    "APPS calls, wrapped, as JSON": ({"tests": json.dumps(_CALLS)}, *_FUNCTION),
    "APPS calls, wrapped lists": (
        {"tests": {"fn_name": "order", "inputs": [[[2, 1]], [[3]]], "outputs": [[[1, 2]], [[3]]]}},
        [_SORT],
        ["def order(xs): return xs", "def order(xs): return sorted(xs)[0]"],
    ),
    "APPS calls, lists of which one has one item": (
        {"tests": {"fn_name": "order", "inputs": [[[2, 1]], [[3]]], "outputs": [[1, 2], [3]]}},
        [_SORT],
        ["def order(xs): return xs", "def order(xs): return sorted(xs) if xs[1:] else xs[0]"],
    ),
    "a row of APPS": (
        {
            "tests": {
                "input_output": json.dumps(_CALLS),
                "starter_code": "",
                "difficulty": "interview",
            }
        },
        *_FUNCTION,
    ),
    "a row of TACO": ({"tests": {"input_output": _TWO, "url": None}}, *_PROGRAM),
    "arguments with a column for the name": (
        {"tests": {"inputs": [[1, 2], [3, 4]], "outputs": [3, 7]}, "entry_point": "add"},
        *_FUNCTION,
    ),
    "a list of paired programs": (
        {"tests": [{"inputs": ["1 2"], "outputs": ["3"]}, {"inputs": ["3 4"], "outputs": ["7"]}]},
        *_PROGRAM,
    ),
    "a list of one pair of lists": ({"tests": [_TWO]}, *_PROGRAM),
    "a list of inputs and outputs as texts": (
        {"tests": [{"inputs": "1 2", "outputs": "3"}, {"inputs": "3 4", "outputs": "7"}]},
        *_PROGRAM,
    ),
    "a list of paired calls": ({"tests": [_CALLS]}, *_FUNCTION),
    "LiveCodeBench, programs": (
        {"tests": json.dumps(_stdin(("1 2", "3"), ("3 4\n", "7\n")))},
        *_PROGRAM,
    ),
    "LiveCodeBench, functional": (
        {"tests": json.dumps(_functional(("1\n2", "3"), ("3\n4", "7"))), "entry_point": "add"},
        *_FUNCTION,
    ),
    "LiveCodeBench, functional, its own name": (
        {"tests": _functional(("1\n2", "3"), ("3\n4", "7"), metadata={"func_name": "add"})},
        *_FUNCTION,
    ),
    "LiveCodeBench, a list and a text": (
        {
            "tests": _functional(('["a", "b"]\n"-"', '"a-b"'), ('["x"]\n"-"', '"x"')),
            "entry_point": "joined",
        },
        [
            "class Solution:\n    def joined(self, xs: List[str], by: str) -> str: return"
            " by.join(xs)"
        ],
        ["def joined(xs, by): return xs", "def joined(xs, by): return 'a-b'"],
    ),
    "LiveCodeBench, a row": (
        {
            "tests": {
                "public_test_cases": json.dumps(_functional(("1\n2", "3"))),
                "private_test_cases": json.dumps(_functional(("3\n4", "7"))),
                "metadata": '{"func_name": "add"}',
            }
        },
        *_FUNCTION,
    ),
    "LiveCodeBench, true and null": (
        {"tests": _functional(("1", "true"), ("0", "null")), "entry_point": "f"},
        ["def f(x): return True if x else None"],
        [
            "def f(x): return 1 if x else None",
            "def f(x): return bool(x)",
            "def f(x): return 'true' if x else 'null'",
        ],
    ),
    "CodeContests": ({"tests": {"input": ["1 2", "3 4"], "output": ["3", "7"]}}, *_PROGRAM),
    "CodeContests, a row": (
        {
            "tests": {
                "public_tests": {"input": ["1 2"], "output": ["3"]},
                "private_tests": {"input": [], "output": []},
                "generated_tests": {"input": ["3 4"], "output": ["7"]},
                "input_file": "",
                "output_file": "",
            }
        },
        *_PROGRAM,
    ),
    "Codeforces": (
        {
            "tests": {
                "official_tests": [
                    {"input": "1 2", "output": "3"},
                    {"input": "3 4", "output": "7"},
                ],
                "generated_checker": None,
                "input_mode": "stdio",
            }
        },
        *_PROGRAM,
    ),
    "SYNTHETIC-1, programs": (
        {"tests": {"language": "python", "test_cases": _PRIME_STDIN}},
        *_PROGRAM,
    ),
    "SYNTHETIC-1, calls": ({"tests": {"language": "python", "test_cases": _PRIME}}, *_FUNCTION),
    "SYNTHETIC-1, as the text of a dict": (
        {"tests": repr({"language": "python", "test_cases": _PRIME_STDIN})},
        *_PROGRAM,
    ),
    "DeepCoder, programs": ({"tests": json.dumps(_PRIME_STDIN)}, *_PROGRAM),
    "DeepCoder, calls": ({"tests": json.dumps(_PRIME)}, *_FUNCTION),
    "the ground truth of verl": ({"tests": {"ground_truth": json.dumps(_TWO)}}, *_PROGRAM),
    "arguments by name": (
        {
            "tests": [
                {"function": "add", "input": {"a": 1, "b": 2}, "output": 3},
                {"function": "add", "input": {"b": 4, "a": 3}, "output": 7},
            ]
        },
        *_FUNCTION,
    ),
    "MBPP": ({"tests": ["assert add(1, 2) == 3", "assert add(3, 4) == 7"]}, *_FUNCTION),
    "MBPP, JSON": ({"tests": '["assert add(1, 2) == 3", "assert add(3, 4) == 7"]'}, *_FUNCTION),
    "MBPP, a row": (
        {
            "tests": {
                "test_list": ["assert add(ONE, 2) == 3", "assert add(3, 4) == 7"],
                "test_setup_code": "ONE = 1",
                "challenge_test_list": [],
            }
        },
        *_FUNCTION,
    ),
    "MBPP, sanitized": (
        {
            "tests": {
                "test_list": [
                    "assert math.isclose(half(1), 0.5, rel_tol=1e-3)",
                    "assert half(3) == 1.5",
                ],
                "test_imports": ["import math"],
            }
        },
        ["def half(x): return x / 2"],
        ["def half(x): return x // 2", "def half(x): return 0.5"],
    ),
    "LeetCodeDataset": (
        {
            "tests": (
                "def check(candidate):\n    assert candidate(a = 1, b = 2) == 3\n    assert"
                " candidate(a = 3, b = 4) == 7\n"
            ),
            "entry_point": "Solution().add",
        },
        [METHOD],
        [METHOD.replace("+", "-"), NOTHING],
    ),
}

PLUS = """import numpy as np
from math import inf

def is_floats(x) -> bool:
    # check if it is float; List[float]; Tuple[float]
    if isinstance(x, float):
        return True
    if isinstance(x, (list, tuple)):
        return all(isinstance(i, float) for i in x)
    if isinstance(x, np.ndarray):
        return x.dtype == np.float64 or x.dtype == np.float32
    return False

def assertion(out, exp, atol):
    exact_match = out == exp
    if atol == 0 and is_floats(exp):
        atol = 1e-6
    if not exact_match and atol != 0:
        assert type(out) == type(exp), f"out: {out}, exp: {exp}"
        if isinstance(exp, (list, tuple)):
            assert len(out) == len(exp), f"out: {out}, exp: {exp}"
        assert np.allclose(out, exp, rtol=1e-07, atol=atol)
    else:
        assert out == exp, f"out: {out}, exp: {exp}"

"""
_MBPP_PLUS = (
    PLUS
    + """inputs = [[1, 2], [3, 4], [0.1, 0.2]]
results = [3, 7, 0.3]
for i, (inp, exp) in enumerate(zip(inputs, results)):
    assertion(add(*inp), exp, 0)
"""
)
_HUMANEVAL_PLUS = (
    PLUS
    + """def check(candidate):
    inputs = [[1, 2], [3, 4], [0.1, 0.2]]
    results = [3, 7, 0.3]
    for i, (inp, exp) in enumerate(zip(inputs, results)):
        assertion(candidate(*inp), exp, 0)
"""
)
_REFERENCE = (
    PLUS
    + """def ref_func(a, b):
    return sum((a, b))

def check(candidate):
    for i, inp in enumerate([[1, 2], [3, 4], [-5, 5]]):
        assertion(candidate(*inp), ref_func(*inp), 0)
"""
)
STACK = """class EmptyStackError(Exception): pass
class Stack:
    def __init__(self, items=()): self.items = list(items)
    def push(self, x): self.items.append(x)
    def pop(self):
        if not self.items: raise EmptyStackError('nothing is here')
        return self.items.pop()
    def peek(self): return self.items[-1] if self.items else None
    @property
    def size(self): return len(self.items)
    def __len__(self): return len(self.items)
    def __contains__(self, x): return x in self.items
    def __iter__(self): return iter(self.items)
    def is_empty(self): return not self.items
"""
_QUEUE = STACK.replace("self.items.pop()", "self.items.pop(0)")
_STACK_TEST = """import pytest
from solution import Stack, EmptyStackError

@pytest.fixture
def stack():
    s = Stack()
    s.push(1)
    s.push(2)
    return s

def test_order(stack):
    assert stack.pop() == 2
    assert stack.pop() == 1
    assert stack.is_empty()

def test_size(stack):
    assert len(stack) == 2 and stack.size == 2 and 1 in stack and 5 not in stack
    stack.push(7)
    assert list(stack) == [1, 2, 7]

def test_nothing():
    s = Stack()
    with pytest.raises(EmptyStackError, match="nothing"):
        s.pop()
    try:
        s.pop()
        assert False, "should raise"
    except EmptyStackError as error:
        assert "nothing" in str(error)

def test_all_of_it():
    s, seen = Stack(range(5)), []
    while not s.is_empty():
        seen.append(s.pop())
    assert seen == [4, 3, 2, 1, 0]
"""
_UNITTEST = """import unittest
from solution import add

class TestAdd(unittest.TestCase):
    def setUp(self):
        self.two = 2
    def test_numbers(self):
        self.assertEqual(add(1, self.two), 3)
        self.assertAlmostEqual(add(0.1, 0.2), 0.3)
        self.assertNotEqual(add(1, 1), 3)
        self.assertFalse(add(1, -1))
    def test_error(self):
        with self.assertRaises(TypeError):
            add(1, None)
        self.assertRaises(TypeError, add, 1, 'x')
    def test_many(self):
        for a in range(3):
            with self.subTest(a=a):
                self.assertEqual(add(a, a), 2 * a)

if __name__ == '__main__':
    unittest.main()
"""
_PYTEST = """import pytest
import solution
from solution import add

@pytest.mark.parametrize("a, b, total", [(1, 2, 3), (3, 4, 7), pytest.param(0.1, 0.2, pytest.approx(0.3), id="floats")])
def test_add(a, b, total):
    assert add(a, b) == total

@pytest.mark.parametrize("a", [1, 2])
@pytest.mark.parametrize("b", [5, 6])
def test_module(a, b):
    result = solution.add(a, b)
    assert isinstance(result, int)
    assert result - b == a

def test_error():
    with pytest.raises(TypeError):
        add(1, "x")

class TestMore:
    def setup_method(self):
        self.one = 1
    def test_zero(self):
        assert add(self.one, -1) == 0
    def test_chain(self):
        assert add(add(1, 2), add(3, 4)) == 10
"""
_LOOPS = """METADATA = {'author': 'jt', 'dataset': 'test'}

def check(candidate):
    import math
    from random import randint
    assert True, "This prints if this assert fails"
    for x in range(2, 8):
        assert candidate(x, x + 1) == 2 * x + 1, x
    for _ in range(20):
        a, b = randint(0, 1000), randint(0, 1000)
        assert candidate(a, b) == a + b
    for a, b, c in [(1, 2, 3), (4, 5, 9)]:
        assert candidate(a, b) == c
    assert all(candidate(i, i) == 2 * i for i in range(5))
    assert math.isclose(candidate(0.1, 0.2), 0.3)
    assert abs(candidate(0.5, 1.0) - 1.5) < 1e-6
    assert not candidate(1, -1)
    assert candidate(1, 1) in (2, 3) and 5 < candidate(3, 4) <= 7
    assert candidate([1], [2])[0] == 1
    assert {candidate(1, 2), candidate(2, 2)} == {3, 4}
"""
_CODEC = """import random, string
def check(candidate):
    for _ in range(10):
        text = ''.join(random.choice(string.ascii_lowercase) for _ in range(random.randint(10, 20)))
        assert decode(candidate(text)) == text
        assert candidate(text) != text
"""
_IN_PLACE = (
    "from solution import turn\ndef test_turn():\n    m = [[1, 2], [3, 4]]\n    turn(m)\n    assert"
    " m == [[3, 1], [4, 2]]\n"
)
_ADDS = (
    [ADD, ADD + "\nif __name__ == '__main__':\n    print(add(1, 2))"],
    [
        SUBTRACT,
        NOTHING,
        "def add(a, b): return 3",
        "def add(a, b): return str(a + b)",
        "def add(*_): raise TypeError",
    ],
)
_STACKS = (
    [STACK],
    [
        _QUEUE,
        STACK.replace("raise EmptyStackError", "raise ValueError"),
        STACK.replace("nothing is", "nowt is"),
        NOTHING,
        STACK.replace("return x in self.items", "return True"),
    ],
)

READ |= {
    "HumanEval, loops": ({"tests": _LOOPS, "entry_point": "add"}, *_ADDS),
    "HumanEval, loops in a row": (
        {"tests": {"test": _LOOPS, "entry_point": "add", "prompt": "def add"}},
        *_ADDS,
    ),
    "HumanEval, called by its name": ({"tests": _LOOPS + "\ncheck(add)\n"}, *_ADDS),
    "HumanEval, there and back": (
        {"tests": _CODEC, "entry_point": "encode"},
        ["def encode(s): return s[::-1]\ndef decode(s): return s[::-1]"],
        [
            "def encode(s): return s\ndef decode(s): return s",
            "def encode(s): return s[1:]\ndef decode(s): return s",
            "def encode(s): return s[::-1]",
        ],
    ),
    "HumanEval+": ({"tests": _HUMANEVAL_PLUS, "entry_point": "add"}, *_ADDS),
    "HumanEval+ with a reference": ({"tests": _REFERENCE, "entry_point": "add"}, *_ADDS),
    "MBPP+": ({"tests": _MBPP_PLUS}, *_ADDS),
    "MBPP with a loop": (
        {"tests": ["for i in range(3):\n    assert add(i, i) == 2 * i", "assert add(1, 2) == 3"]},
        *_ADDS,
    ),
    "KodCode": (
        {
            "tests": (
                "from solution import add\n\ndef test_add():\n    assert add(1, 2) == 3\n\ndef"
                " test_negative():\n    assert add(-1, -2) == -3\n"
            )
        },
        *_ADDS,
    ),
    "pytest": (
        {"tests": _PYTEST},
        [ADD],
        [
            SUBTRACT,
            NOTHING,
            "def add(a, b): return 3",
            "def add(a, b): return int(a + b)",
            "def add(a, b): return a + b if b != 'x' else 0",
        ],
    ),
    "unittest": (
        {"tests": _UNITTEST},
        [ADD],
        [
            SUBTRACT,
            NOTHING,
            "def add(a, b): return 3",
            "def add(a, b): return a + b if isinstance(b, float | int) else 0",
        ],
    ),
    "pytest of a class": ({"tests": _STACK_TEST}, *_STACKS),
    "in place": (
        {"tests": _IN_PLACE},
        ["def turn(m): m[:] = [list(row) for row in zip(*m[::-1])]"],
        [
            "def turn(m): return [list(row) for row in zip(*m[::-1])]",
            "def turn(m): m = [[3, 1], [4, 2]]",
            "def turn(m): m.clear()",
        ],
    ),
    "results of the standard library": (
        {
            "tests": (
                "from fractions import Fraction\nfrom decimal import Decimal\nimport datetime\nfrom"
                " solution import f, d, g\ndef test_f():\n    assert f(1, 2) == Fraction(1, 2)\n   "
                " assert d('1.10') == Decimal('1.1')\n    assert g(2020) == datetime.date(2020,"
                " 1, 1)"
            )
        },
        [
            "from fractions import Fraction as f\nfrom decimal import Decimal as d\nimport"
            " datetime\ndef g(y): return datetime.date(y, 1, 1)"
        ],
        ["def f(a, b): return 1\ndef d(x): return x\ndef g(y): return y"],
    ),
    "generators": (
        {
            "tests": (
                "from solution import f\ndef test_f():\n    assert list(f(3)) == [0, 1, 2]\n   "
                " assert sorted(f(2)) == [0, 1]\n    total = 0\n    for x in f(4):\n        total"
                " += x\n    assert total == 6\n    assert next(iter(f(2))) == 0"
            )
        },
        ["def f(n): yield from range(n)", "def f(n): return list(range(n))"],
        ["def f(n): yield from range(n + 1)", "def f(n): return n"],
    ),
    "what follows hangs on what came": (
        {
            "tests": (
                "from solution import primes, is_prime\ndef test_p():\n    found = primes(12)\n   "
                " assert len(found) == 5\n    for p in found:\n        assert is_prime(p)\n       "
                " assert not is_prime(p * 2 + (p == 1))"
            )
        },
        [
            "def is_prime(n): return n > 1 and all(n % i for i in range(2, n))\ndef primes(n):"
            " return [i for i in range(n) if is_prime(i)]"
        ],
        [
            "def is_prime(n): return True\ndef primes(n): return [2, 3, 5, 7, 11]",
            (
                "def is_prime(n): return n > 1 and all(n % i for i in range(2, n))\ndef primes(n):"
                " return []"
            ),
        ],
    ),
    "a first test that cannot be foreseen": (
        {
            "tests": (
                "from solution import f\ndef test_a():\n    x = [7, 8][f(0) * 1 if f(0) < 2 else"
                " 9]\n    y = [1][f(1) - f(1)] + int(str(f(1)))\n    assert x == 7 and y == 2\ndef"
                " test_b():\n    assert f(5) == 5\ndef test_c():\n    assert f(6) == 6"
            )
        },
        ["def f(x): return x"],
        ["def f(x): return x if x < 5 else 0", "def f(x): return x if x < 6 else 0"],
    ),
    "a linked list": (
        {
            "tests": (
                "from solution import Node, total\ndef test_l():\n    a = Node(1)\n    b ="
                " Node(2)\n    a.next = b\n    assert a.next.value == 2\n    assert a.next.next is"
                " None\n    assert total(a) == 3"
            )
        },
        [
            "class Node:\n    def __init__(self, value): self.value, self.next = value, None\ndef"
            " total(n):\n    s = 0\n    while n: s, n = s + n.value, n.next\n    return s"
        ],
        [
            "class Node:\n    def __init__(self, value): self.value, self.next = value, None\ndef"
            " total(n): return n.value"
        ],
    ),
}

READ |= {
    "tests: autouse fixture": (
        {
            "tests": (
                "import pytest\nfrom solution import Solution\nclass TestX:\n   "
                " @pytest.fixture(autouse=True)\n    def setup(self):\n        self.s ="
                " Solution()\n    def test_a(self):\n        assert self.s.add(1,2)==3\n   "
                " @pytest.mark.parametrize('a,b', [(1,2),(3,4)])\n    def test_b(self,a,b):\n      "
                "  assert self.s.add(a,b)==a+b"
            )
        },
        ["class Solution:\n    def add(self,a,b): return a+b"],
        ["class Solution:\n    def add(self,a,b): return a*b+1"],
    ),
    "tests: raises value": (
        {
            "tests": (
                "import pytest\nfrom solution import f\ndef test_f():\n    with"
                " pytest.raises(ValueError) as e:\n        f(-1)\n    assert str(e.value) =="
                " 'negative'\n    assert e.type is ValueError\n    with pytest.raises((TypeError,"
                " ValueError), match=r'neg'):\n        f(-2)\n    assert f(4) == 2"
            )
        },
        ["def f(x):\n    if x<0: raise ValueError('negative')\n    return x//2"],
        [
            "def f(x): return x//2",
            "def f(x):\n    if x<0: raise ValueError('no')\n    return x//2",
            "def f(x):\n    if x<0: raise KeyError('negative')\n    return x//2",
            "def f(x): raise ValueError('negative')",
        ],
    ),
    "tests: dict result": (
        {
            "tests": (
                "from solution import count\ndef test():\n    r = count('aab')\n    assert r['a']"
                " == 2\n    assert r.get('z', 0) == 0\n    assert set(r.keys()) == {'a','b'}\n   "
                " assert sum(r.values()) == 3\n    assert isinstance(r, dict)"
            )
        },
        [
            "from collections import Counter\ndef count(s): return Counter(s)",
            "def count(s):\n    d={}\n    for c in s: d[c]=d.get(c,0)+1\n    return d",
        ],
        ["def count(s): return {'a':2}", "def count(s): return {'a':2,'b':1,'c':0}"],
    ),
    "tests: bank": (
        {
            "tests": (
                "import pytest\nfrom solution import Account, InsufficientFunds\n\ndef"
                " test_bank():\n    a = Account('x', 100)\n    a.deposit(50)\n    assert a.balance"
                " == 150\n    with pytest.raises(InsufficientFunds):\n        a.withdraw(1000)\n   "
                " a.withdraw(150)\n    assert a.balance == 0\n    assert str(a) == 'x: 0'\n   "
                " assert repr(a).startswith('<')\n    b = Account('y')\n    a.deposit(10)\n   "
                " a.transfer(b, 4)\n    assert (a.balance, b.balance) == (6, 4)"
            )
        },
        [
            "class InsufficientFunds(Exception): pass\nclass Account:\n    def"
            " __init__(self,n,b=0): self.n=n; self.balance=b\n    def deposit(self,x):"
            " self.balance+=x\n    def withdraw(self,x):\n        if x>self.balance: raise"
            " InsufficientFunds()\n        self.balance-=x\n    def transfer(self,o,x):"
            " self.withdraw(x); o.deposit(x)\n    def __str__(self): return f'{self.n}:"
            " {self.balance}'"
        ],
        [
            "class InsufficientFunds(Exception): pass\nclass Account:\n    def"
            " __init__(self,n,b=0): self.n=n; self.balance=b\n    def deposit(self,x):"
            " self.balance+=x\n    def withdraw(self,x):\n        if x>self.balance: raise"
            " InsufficientFunds()\n        self.balance-=x\n    def transfer(self,o,x):"
            " self.withdraw(x)\n    def __str__(self): return f'{self.n}: {self.balance}'"
        ],
    ),
    "tests: helper in tests": (
        {
            "tests": (
                "from solution import sort\ndef is_sorted(xs):\n    return all(a <= b for a, b in"
                " zip(xs, xs[1:]))\ndef test_sort():\n    import random\n    for n in range(20):\n "
                "       xs = [random.randint(0, 99) for _ in range(n)]\n        out ="
                " sort(list(xs))\n        assert is_sorted(out)\n        assert sorted(xs) == out"
            )
        },
        ["def sort(x): return sorted(x)", "def sort(x):\n    x.sort()\n    return x"],
        ["def sort(x): return []", "def sort(x): return x", "def sort(x): x.clear(); return x"],
    ),
    "tests: module const": (
        {
            "tests": (
                "import solution\ndef test():\n    assert solution.LIMIT == 3\n    assert"
                " solution.double(solution.LIMIT) == 6\n    assert hasattr(solution, 'double')"
            )
        },
        ["LIMIT=3\ndef double(x): return 2*x"],
        ["LIMIT=4\ndef double(x): return 2*x", "def double(x): return 2*x"],
    ),
    "tests: truthy": (
        {
            "tests": (
                "from solution import ok\ndef test():\n    assert ok('()') is True\n    assert"
                " ok('(') is False\n    assert ok('') == True\n    assert not ok(')(')\n    assert"
                " ok('()()') and ok('(())')\n    assert (ok('()'), ok(')')) == (True, False)\n   "
                " assert [ok(s) for s in ('(', '()')] == [False, True]"
            )
        },
        [
            "def ok(s):\n    d=0\n    for c in s:\n        d+=1 if c=='(' else -1\n        if d<0:"
            " return False\n    return d==0"
        ],
        [
            "def ok(s): return True",
            "def ok(s): return False",
            "def ok(s): return s.count('(')==s.count(')')",
            (
                "def ok(s):\n    d=0\n    for c in s:\n        d+=1 if c=='(' else -1\n        if"
                " d<0: return 0\n    return int(d==0)"
            ),
        ],
    ),
    "tests: check with while": (
        {
            "tests": (
                "def check(f):\n    i = 0\n    while i < 5:\n        assert f(i) == i * i, i\n     "
                "   i += 1\n"
            ),
            "entry_point": "g",
        },
        ["def g(x): return x*x"],
        ["def g(x): return x"],
    ),
    "tests: linked list walk": (
        {
            "tests": (
                "from solution import ListNode, reverse\ndef build(xs):\n    head = None\n    for x"
                " in reversed(xs):\n        node = ListNode(x)\n        node.next = head\n       "
                " head = node\n    return head\ndef listed(node):\n    out = []\n    while node:\n "
                "       out.append(node.val)\n        node = node.next\n    return out\ndef"
                " test_r():\n    assert listed(reverse(build([1,2,3]))) == [3,2,1]\n    assert"
                " listed(reverse(build([]))) == []"
            )
        },
        [
            "class ListNode:\n    def __init__(self,val=0,next=None): self.val=val;"
            " self.next=next\ndef reverse(h):\n    p=None\n    while h: h.next,p,h=p,h,h.next\n   "
            " return p"
        ],
        [
            "class ListNode:\n    def __init__(self,val=0,next=None): self.val=val;"
            " self.next=next\ndef reverse(h): return h"
        ],
    ),
    "tests: iterator class": (
        {
            "tests": (
                "from solution import Countdown\ndef test_c():\n    assert list(Countdown(3)) =="
                " [3,2,1]\n    it = iter(Countdown(2))\n    assert next(it) == 2\n    assert [x for"
                " x in Countdown(1)] == [1]\n    total = 0\n    for x in Countdown(4):\n       "
                " total += x\n    assert total == 10"
            )
        },
        [
            "class Countdown:\n    def __init__(self,n): self.n=n\n    def __iter__(self):\n       "
            " n=self.n\n        while n: yield n; n-=1"
        ],
        [
            "class Countdown:\n    def __init__(self,n): self.n=n\n    def __iter__(self): return"
            " iter(range(self.n))"
        ],
    ),
    "tests: context manager": (
        {
            "tests": (
                "from solution import Timer\ndef test_t():\n    with Timer() as t:\n        x = 1\n"
                "    assert t.closed is True\n    assert Timer().closed is False"
            )
        },
        [
            "class Timer:\n    closed=False\n    def __enter__(self): return self\n    def"
            " __exit__(self,*a): self.closed=True"
        ],
        [
            "class Timer:\n    closed=False\n    def __enter__(self): return self\n    def"
            " __exit__(self,*a): pass"
        ],
    ),
    "tests: vector operators": (
        {
            "tests": (
                "from solution import Vector\ndef test_v():\n    v = Vector(1, 2) + Vector(3, 4)\n "
                "   assert (v.x, v.y) == (4, 6)\n    w = v * 2\n    assert w.x == 8\n    assert"
                " abs((-w).y) == 12"
            )
        },
        [
            "class Vector:\n    def __init__(self,x,y): self.x=x; self.y=y\n    def"
            " __add__(self,o): return Vector(self.x+o.x,self.y+o.y)\n    def __mul__(self,k):"
            " return Vector(self.x*k,self.y*k)\n    def __neg__(self): return"
            " Vector(-self.x,-self.y)"
        ],
        [
            "class Vector:\n    def __init__(self,x,y): self.x=x; self.y=y\n    def"
            " __add__(self,o): return self\n    def __mul__(self,k): return self\n    def"
            " __neg__(self): return self"
        ],
    ),
    "tests: json error": (
        {
            "tests": (
                "import json, pytest\nfrom solution import parse\ndef test():\n    assert"
                " parse('{\"a\": [1, null]}') == {'a': [1, None]}\n    with"
                " pytest.raises(json.JSONDecodeError):\n        parse('{')"
            )
        },
        ["import json\ndef parse(s): return json.loads(s)"],
        [
            "import json\ndef parse(s):\n    try: return json.loads(s)\n    except Exception: raise"
            " KeyError(s)"
        ],
    ),
}

REFUSED = {
    "nothing": ({"tests": []}, "no list of tests"),
    "no inputs": ({"tests": {"inputs": [], "outputs": []}}, "no list of tests"),
    "no inputs in any part": (
        {"tests": {"public_tests": {"input": [], "output": []}, "private_tests": None}},
        "no list of tests",
    ),
    "no output": (
        {"tests": [{"stdin": "1", "stdout": ""}, {"stdin": "2", "stdout": "\n"}]},
        "no test expects any output",
    ),
    "an empty answer": ({"answer": ""}, "no test expects any output"),
    "LiveCodeBench's packed tests": (
        {
            "tests": {
                "public_test_cases": json.dumps(_stdin(("1", "1"))),
                "private_test_cases": (
                    "eJxrYJmaz8gABhHdiVnVSqWlmSn5pcVKVgqGxjGlBmbGhpYGCpYGRuamxqYWRgYGFqaW"
                ),
            }
        },
        "packed",
    ),
    "LiveCodeBench without a name": ({"tests": _functional(("1\n2", "3"))}, "names no function"),
    "LiveCodeBench, no JSON": (
        {"tests": _functional(("1\nx", "3")), "entry_point": "add"},
        "no JSON",
    ),
    "a checker": (
        {
            "tests": {
                "official_tests": [{"input": "1", "output": "2"}],
                "generated_checker": "import sys",
            }
        },
        "a program of its own (generated_checker)",
    ),
    "files": (
        {"tests": {"official_tests": [{"input": "1", "output": "2"}], "input_mode": "file"}},
        "files",
    ),
    "CodeContests with a file": (
        {"tests": {"public_tests": {"input": ["1"], "output": ["2"]}, "input_file": "a.in"}},
        "files",
    ),
    "another language": (
        {"tests": {"language": "javascript", "test_cases": _PRIME_STDIN}},
        "javascript",
    ),
    "another type": (
        {"tests": [{"type": "interactive", "input": "1", "output": "2"}]},
        "type 'interactive'",
    ),
    "arguments without a name": (
        {"tests": {"inputs": [[1, 2]], "outputs": [3]}},
        "no text of a program",
    ),
    "lists of tests or of lines": (
        {"tests": [{"input": ["1 2", "3 4"], "output": ["3", "7"]}]},
        "several tests, or of the lines of one",
    ),
    "two lengths": ({"tests": {"input": ["1", "2"], "output": ["1"]}}, "one length"),
    "tests that call nothing": (
        {"tests": "def test_a():\n    assert 1 + 1 == 2"},
        "never call the program",
    ),
    "tests without an assert": (
        {"tests": "from solution import add\ndef test_a():\n    add(1, 2)"},
        "pass whatever the program returns",
    ),
    "tests that hold of anything": (
        {
            "tests": (
                "from solution import add\ndef test_a():\n    x = add(1, 2)\n    assert x == x\n   "
                " assert 1 < 2"
            )
        },
        "pass whatever the program returns",
    ),
    "numpy itself": (
        {
            "tests": (
                "import numpy as np\nfrom solution import add\ndef test_a():\n    assert"
                " (add(np.array([1]), np.array([2])) == np.array([3])).all()"
            )
        },
        "use numpy.array",
    ),
    "another package": (
        {
            "tests": (
                "import pandas as pd\nfrom solution import add\ndef test_a():\n    assert add(1, 2)"
                " == 3"
            )
        },
        "import pandas",
    ),
    "what it prints": (
        {
            "tests": (
                "from solution import add\ndef test_a(capsys):\n    add(1, 2)\n    assert"
                " capsys.readouterr().out == '3'"
            )
        },
        "capsys",
    ),
    "a redirected output": (
        {
            "tests": (
                "import io, contextlib\nfrom solution import add\ndef test_a():\n    with"
                " contextlib.redirect_stdout(io.StringIO()) as out:\n        add(1, 2)\n    assert"
                " out.getvalue() == '3'"
            )
        },
        "redirect_stdout",
    ),
    "a patched module": (
        {
            "tests": (
                "from unittest.mock import patch\nfrom solution import"
                " add\n@patch('solution.add')\ndef test_a(m):\n    assert add(1, 2) == 3"
            )
        },
        "import unittest.mock",
    ),
    "a function handed in": (
        {
            "tests": (
                "from solution import apply\ndef test_a():\n    assert apply(lambda x: x + 1, 2)"
                " == 3"
            )
        },
        "hand the program a function",
    ),
    "objects compared": (
        {
            "tests": (
                "from solution import Point, move\ndef test_a():\n    assert move(Point(1, 2)) =="
                " Point(2, 3)"
            )
        },
        "compare objects of the program's own classes",
    ),
    "coroutines": (
        {
            "tests": (
                "import pytest\nfrom solution import add\n@pytest.mark.asyncio\nasync def"
                " test_a():\n    assert await add(1, 2) == 3"
            )
        },
        "are coroutines",
    ),
    "a fixture that is not here": (
        {"tests": "from solution import add\ndef test_a(benchmark):\n    assert add(1, 2) == 3"},
        "ask for benchmark",
    ),
    "tests that fail by themselves": (
        {"tests": "from solution import add\nx = [][1]\ndef test_a():\n    assert add(1, 2) == 3"},
        "fail by themselves: IndexError",
    ),
    "tests that differ each time": (
        {
            "tests": (
                "from solution import add\nimport os\ndef test_a():\n    x ="
                " int.from_bytes(os.urandom(8), 'big')\n    assert add(x, 1) == x + 1"
            )
        },
        "ask something else each time",
    ),
    "tests that ask before they begin": (
        {"tests": "from solution import f\nx = [1][f(3)]\ndef test_a():\n    assert f(1) == x"},
        "before they begin",
    ),
    "a name that nobody makes": (
        {"tests": "from solution import add\ndef test_a():\n    assert add(1, 2) == three"},
        "use three, which nobody makes",
    ),
    "a reference of the program's module": (
        {"tests": "from solution import *\ndef test_a():\n    assert add(1, 2) == 3"},
        "import * from solution",
    ),
}
