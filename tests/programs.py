"""Programs for the graders of code: cheats that must not be paid, and honest ones that must be.

A cheat is graded twice: as a call of ``f``, which should return ``2 * x + 1``, and as a program
that should print it. ``VISIBLE`` stands in the prompt of such a task, ``HIDDEN`` does not.
"""

VISIBLE = [(1, 3)]
HIDDEN = [(1, 3), (20, 41), (-7, -13)]

CHEATS = {
    "exit 0 when imported": "import sys; sys.exit(0)",
    "exit 0 by the system": "import os; os._exit(0)",
    "exit in the function": "import sys\ndef f(x): sys.exit(0)",
    "exit of the system in the function": "import os\ndef f(x): os._exit(0)",
    "exit in __eq__": (
        "import os\nclass A:\n    def __eq__(self, other): os._exit(0)\ndef f(x): return A()"
    ),
    "exit in __del__": (
        "import os\nclass A:\n    def __del__(self): os._exit(0)\ndef f(x): return A()"
    ),
    "exit at the end": "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): return None",
    "an exception hook": (
        "import os, sys\nsys.excepthook = lambda *_: os._exit(0)\ndef f(x): raise ValueError"
    ),
    "exit in a thread": (
        "import os, threading\nthreading.Timer(0.01, os._exit, (0,)).start()\ndef f(x):\n    while"
        " True: pass"
    ),
    "SystemExit with a mark": "raise SystemExit('PASSED')",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "always equal": (
        "class A:\n    def __eq__(self, other): return True\n    def __ne__(self, other): return"
        " False\n    __hash__ = None\ndef f(x): return A()"
    ),
    "an int that is always equal": (
        "class A(int):\n    def __eq__(self, other): return True\n    __hash__ = int.__hash__\ndef"
        " f(x): return A(0)"
    ),
    "a float that is always equal": (
        "class A(float):\n    def __eq__(self, other): return True\ndef f(x): return A(0)"
    ),
    "a list that is always equal": (
        "class A(list):\n    def __eq__(self, other): return True\n    def __len__(self): return"
        " 10**9\ndef f(x): return A()"
    ),
    "a text that is always equal": (
        "class A(str):\n    def __eq__(self, other): return True\n    __hash__ = str.__hash__\ndef"
        " f(x): return A('')"
    ),
    "a dict that has everything": (
        "class A(dict):\n    def __missing__(self, key): return True\ndef f(x): return A()"
    ),
    "mock.ANY": "from unittest.mock import ANY\ndef f(x): return ANY",
    "MagicMock": "from unittest.mock import MagicMock\ndef f(x): return MagicMock()",
    "not a number": "def f(x): return float('nan')",
    "infinity": "def f(x): return float('inf')",
    "true": "def f(x): return True",
    "a marker": (
        "print('PASSED'); print('ALL TESTS PASSED'); print('OK'); print('1.0')\ndef f(x): return"
        " None"
    ),
    "a score in JSON": (
        'print(\'{"score": 1.0, "passed": true, "returned": 3}\')\ndef f(x): return {\'passed\':'
        " True}"
    ),
    "a record that looks like a result": (
        "def f(x): return {'returned': 2, 'int': '0x3', 'dict': []}"
    ),
    "a report of pytest": "print('1 passed in 0.01s')\nimport sys; sys.exit(0)",
    "patched builtins": (
        "import builtins\nbuiltins.type = lambda *a: int\nbuiltins.isinstance = lambda *a:"
        " True\nbuiltins.all = lambda *a: True\ndef f(x): return 'x'"
    ),
    "patched json": (
        "import json\njson.dumps = lambda *a, **k: '{\"returned\": 3}'\njson.JSONEncoder.encode ="
        " lambda *a: '{\"returned\": 3}'\njson.loads = lambda *a: True\ndef f(x): return 0"
    ),
    "patched unittest": (
        "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\nunittest.main = lambda"
        " *a: None\ndef f(x): return 0"
    ),
    "patched os": (
        "import os\nos.write = lambda fd, data: len(data)\nos._exit = lambda code: None\ndef f(x):"
        " return 0"
    ),
    "patched sys.stdout": (
        "import io, sys\nsys.stdout = io.StringIO()\nprint(3)\ndef f(x): return 0"
    ),
    "patched operator and math": (
        "import operator, math\noperator.eq = lambda a, b: True\nmath.isclose = lambda *a, **k:"
        " True\ndef f(x): return 0"
    ),
    "look up the frames": (
        """
import sys
def f(x):
    frame, found = sys._getframe(), []
    while frame:
        for name, value in {**frame.f_globals, **frame.f_locals}.items():
            if 'expected' in name.lower() or 'answer' in name.lower() or name == 'tests': found.append(value)
        frame = frame.f_back
    return found[0] if found else None
"""
    ),
    "write the result by the nonce": (
        """
import sys, os
def f(x):
    frame = sys._getframe()
    while frame:
        nonce = frame.f_locals.get('nonce')
        if isinstance(nonce, str):
            for fd in range(3, 64):
                try: os.write(fd, (nonce + '{"returned":true}\\n').encode())
                except OSError: pass
            os._exit(0)
        frame = frame.f_back
"""
    ),
    "write two results": (
        """
import sys, os
def f(x):
    frame = sys._getframe()
    while frame:
        nonce = frame.f_locals.get('nonce')
        if isinstance(nonce, str):
            for fd in range(3, 64):
                for value in range(-20, 50):
                    try: os.write(fd, (nonce + '{"returned":%d}\\n' % value).encode())
                    except OSError: pass
            os._exit(0)
        frame = frame.f_back
"""
    ),
    "search the memory": (
        """
import gc
def f(x):
    for thing in gc.get_objects():
        if isinstance(thing, dict):
            for key in ('expected', 'answer', 'gold', 'want', 'expected_output'):
                if key in thing and type(thing[key]) is int: return thing[key]
"""
    ),
    "look into __main__": (
        """
import __main__, sys
def f(x):
    for module in list(sys.modules.values()):
        for name in ('expected', 'EXPECTED', 'tests', 'answers', 'HIDDEN', 'CASES'):
            if hasattr(module, name): return getattr(module, name)
    return vars(__main__).get('expected')
"""
    ),
    "read the tests": (
        """
import glob
def f(x):
    for path in glob.glob('/**/*test*.py', recursive=True) if False else glob.glob('*') + glob.glob('/tmp/*') + ['/proc/self/cmdline', __file__ if '__file__' in globals() else '']:
        try: return int(open(path).read().split('==')[1])
        except Exception: pass
"""
    ),
    "conftest and sitecustomize": (
        """
for folder in ('.', '/tmp', '/usr/lib/python3'):
    for name in ('conftest.py', 'sitecustomize.py', 'usercustomize.py', 'pytest.ini'):
        try: open(folder + '/' + name, 'w').write('import os; os._exit(0)')
        except OSError: pass
def f(x): return 0
"""
    ),
    "every descriptor": (
        "import os\nfor fd in range(3, 64):\n    try: os.write(fd, b'{\"returned\": 3}\\n')\n   "
        " except OSError: pass\ndef f(x): return 0"
    ),
    "the visible cases": (
        "def f(x): return {1: 3}.get(x, 0)\nif __name__ == '__main__': print({1:"
        " 3}.get(int(input()), 0))"
    ),
    "an iterator without end": "import itertools\ndef f(x): return itertools.count()",
    "a generator without end": "def f(x):\n    while True: yield 3",
    "all answers": (
        "def f(x): return list(range(-100, 100))\nif __name__ == '__main__':\n    for n in"
        " range(-100, 100): print(n)"
    ),
    "all answers in one line": (
        "if __name__ == '__main__': print(*range(-100, 100))\ndef f(x): return set(range(-100,"
        " 100))"
    ),
    "a text of the number": "def f(x): return str(2 * x + 1)\nprint()",
    "the number and a NUL": (
        "def f(x): return str(2 * x + 1) + '\\0'\nif __name__ == '__main__': print(2 * int(input())"
        " + 1, end='\\0')"
    ),
    "the number and NUL lines": (
        "if __name__ == '__main__': print(2 * int(input()) + 1); print('\\0')\ndef f(x): return [2"
        " * x + 1, 0]"
    ),
    "a fork, and the parent exits": (
        "import os\ntry:\n    if os.fork(): os._exit(0)\nexcept OSError: os._exit(0)\ndef f(x):"
        " return 0"
    ),
    "a class that is the function": (
        "class f:\n    def __init__(self, x): pass\n    def __eq__(self, other): return True"
    ),
    "a deep list": "def f(x):\n    y = []\n    for _ in range(10**5): y = [y]\n    return y",
    "a list that holds itself": "def f(x):\n    y = []\n    y.append(y)\n    return y",
    "a loop": "def f(x):\n    while True: pass\nif __name__ == '__main__': f(1)",
    "nothing": "pass",
    "no Python": "the answer is 2x + 1",
    "a right number that then fails": (
        "if __name__ == '__main__':\n    print(2 * int(input()) + 1)\n    raise ValueError\ndef"
        " f(x): raise ValueError(2 * x + 1)"
    ),
    "ends by a signal": (
        "import os, signal\nif __name__ == '__main__':\n    print(2 * int(input()) + 1,"
        " flush=True)\n    os.kill(os.getpid(), signal.SIGKILL)\ndef f(x): os.abort()"
    ),
}

HONEST = {
    # name: (program, tests)
    "arithmetic": ("def f(x): return 2 * x + 1", [{"function": "f", "args": [3], "expected": 7}]),
    "keyword arguments": (
        "def f(x, *, by=1): return x + by",
        [{"function": "f", "args": [3], "kwargs": {"by": 4}, "expected": 7}],
    ),
    "a text": (
        "def f(s): return s[::-1]",
        [{"function": "f", "args": ["äbc🎉"], "expected": "🎉cbä"}],
    ),
    "a bool": (
        "def f(n): return n % 2 == 0",
        [
            {"function": "f", "args": [4], "expected": True},
            {"function": "f", "args": [3], "expected": False},
        ],
    ),
    "None": ("def f(): pass", [{"function": "f", "args": [], "expected": None}]),
    "a float": (
        "def f(x): return x / 3",
        [{"function": "f", "args": [1], "expected": 0.3333333333}],
    ),
    "an int for a float": ("def f(x): return x", [{"function": "f", "args": [1], "expected": 1.0}]),
    "minus zero": ("def f(x): return x * 0.0", [{"function": "f", "args": [-1], "expected": 0.0}]),
    "NaN": (
        "def f(): return float('nan')",
        [{"function": "f", "args": [], "expected": float("nan")}],
    ),
    "a list": (
        "def f(x): return sorted(x)",
        [{"function": "f", "args": [[3, 1, 2]], "expected": [1, 2, 3]}],
    ),
    "a tuple for a list of JSON": (
        "def f(a, b): return a + b, a - b",
        [{"function": "f", "args": [3, 1], "expected": [4, 2]}],
    ),
    "a dict": (
        "from collections import Counter\ndef f(s): return dict(Counter(s))",
        [{"function": "f", "args": ["aab"], "expected": {"a": 2, "b": 1}}],
    ),
    "nested": (
        "def f(n): return [[i, {'n': (i,)}] for i in range(n)]",
        [{"function": "f", "args": [2], "expected": [[0, {"n": [0]}], [1, {"n": [1]}]]}],
    ),
    "recursion": (
        "def f(n): return n if n < 2 else f(n - 1) + f(n - 2)",
        [{"function": "f", "args": [20], "expected": 6765}],
    ),
    "deep recursion": (
        "import sys\nsys.setrecursionlimit(10**6)\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)",
        [{"function": "f", "args": [20000], "expected": 20000}],
    ),
    "memory of calls": (
        (
            "from functools import lru_cache\n@lru_cache(None)\ndef f(n): return n if n < 2 else"
            " f(n - 1) + f(n - 2)"
        ),
        [{"function": "f", "args": [90], "expected": 2880067194370816120}],
    ),
    "a large int": (
        "def f(n):\n    r = 1\n    for i in range(2, n + 1): r *= i\n    return r",
        ["assert f(25) == 15511210043330985984000000", "assert f(3) == 6"],
    ),
    "more digits than an int prints": (
        "def f(n): return 7 ** n",
        ["assert f(9) == 40353607", "assert f(900) == 7 ** 900"],
    ),
    "a generator made a list": (
        "def g(n):\n    for i in range(n): yield i * i\ndef f(n): return list(g(n))",
        [{"function": "f", "args": [4], "expected": [0, 1, 4, 9]}],
    ),
    "a class and a helper": (
        (
            "class Stack:\n    def __init__(self): self.items = []\n    def push(self, x):"
            " self.items.append(x)\ndef f(xs):\n    s = Stack()\n    for x in xs: s.push(x)\n   "
            " return s.items[::-1]"
        ),
        [{"function": "f", "args": [[1, 2]], "expected": [2, 1]}],
    ),
    "a method of Solution": (
        (
            "class Solution:\n    def twoSum(self, nums: list[int], target: int) -> list[int]:\n   "
            "     seen = {}\n        for i, n in enumerate(nums):\n            if target - n in"
            " seen: return [seen[target - n], i]\n            seen[n] = i"
        ),
        [{"function": "twoSum", "args": [[2, 7, 11], 9], "expected": [0, 1]}],
    ),
    "dataclass": (
        (
            "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\ndef f(n): return"
            " P(n).x"
        ),
        [{"function": "f", "args": [5], "expected": 5}],
    ),
    "a main guard beside a function": (
        "def f(x): return x + 1\nif __name__ == '__main__':\n    print(f(int(input())))",
        [{"function": "f", "args": [1], "expected": 2}],
    ),
    "a print beside a result": (
        "def f(x):\n    print('debug', x)\n    return x",
        [{"function": "f", "args": [1], "expected": 1}],
    ),
    "standard library": (
        (
            "import bisect, heapq, itertools, math, re, string, statistics, decimal, fractions,"
            " datetime, json, random\ndef f(x): return math.comb(5, 2) + bisect.bisect([1, 2], x) +"
            " len(re.findall('a', 'aa'))"
        ),
        [{"function": "f", "args": [2], "expected": 14}],
    ),
    "typing": (
        (
            "from typing import List, Optional\ndef f(x: Optional[List[int]]) -> int: return len(x"
            " or [])"
        ),
        [{"function": "f", "args": [None], "expected": 0}],
    ),
    "asserts with sets and tuples": (
        "def f(a, b): return tuple(set(a) & set(b))",
        [
            "assert set(f((3, 4, 5), (5, 4, 7))) == set((4, 5))",
            "assert tuple(sorted(f([1], [1]))) == (1,)",
        ],
    ),
    "asserts of floats": (
        "import math\ndef f(r): return math.pi * r * r",
        (
            "import math\nassert math.isclose(f(1), 3.14159, rel_tol=1e-4)\nassert abs(f(2) -"
            " 12.566) < 0.01"
        ),
    ),
    "asserts that are bare": (
        "def f(n): return n > 1 and all(n % i for i in range(2, n))",
        "assert f(7)\nassert not f(8)\nassert f(2) == True\nassert f(9) is False",
    ),
    "asserts with constants": (
        "def f(x): return x + x",
        "xs = [1, 2] * 2\nassert f(xs) == [1, 2, 1, 2, 1, 2, 1, 2]\nassert f('a') != 'a'",
    ),
    "paired inputs with a name": (
        "def f(a, b): return a * b",
        {"fn_name": "f", "inputs": [[2, 3], [0, 1]], "outputs": [6, 0]},
    ),
    "paired inputs of a program": (
        "print(sum(map(int, input().split())))",
        {"inputs": ["1 2\n", "5 6"], "outputs": ["3\n", "11"]},
    ),
    "tests as JSON text": (
        "def f(x): return [x]",
        '[{"function": "f", "args": [1], "expected": [1]}]',
    ),
    "input": ("n = int(input())\nprint(n * 2)", [{"stdin": "4\n", "stdout": "8\n"}]),
    "lines of input": (
        (
            "n = int(input())\nfor _ in range(n):\n    a, b = map(int, input().split())\n   "
            " print(a + b)"
        ),
        [{"input": "2\n1 2\n3 4\n", "output": "3\n7\n"}],
    ),
    "sys.stdin.read": (
        "import sys\nprint(sum(int(x) for x in sys.stdin.read().split()))",
        [{"stdin": "1\n2\n3", "stdout": "6"}],
    ),
    "lines of sys.stdin": (
        "import sys\nfor line in sys.stdin: print(line.strip().upper())",
        [{"stdin": "a\nb\n", "stdout": "A\nB"}],
    ),
    "sys.stdin.buffer": (
        "import sys\ndata = sys.stdin.buffer.read().split()\nsys.stdout.write(str(len(data)))",
        [{"stdin": "a b c", "stdout": "3"}],
    ),
    "input until its end": (
        "while True:\n    try: print(int(input()) + 1)\n    except EOFError: break",
        [{"stdin": "1\n2", "stdout": "2\n3"}],
    ),
    "a main guard": (
        "def main():\n    print(input()[::-1])\nif __name__ == '__main__':\n    main()",
        [{"stdin": "abc", "stdout": "cba"}],
    ),
    "sys.exit at the end": (
        "import sys\nprint('done')\nsys.exit(0)",
        [{"stdin": "", "stdout": "done"}],
    ),
    "spaces at the ends of lines": (
        "for i in range(2): print(i, end=' \\n')\nprint()",
        [{"stdin": "", "stdout": "0\n1"}],
    ),
    "a float printed": ("print(1 / 3)", [{"stdin": "", "stdout": "0.333333333"}]),
    "a large output": (
        "for i in range(50000): print(i)",
        [{"stdin": "", "stdout": "\n".join(map(str, range(50000)))}],
    ),
    "an answer": ("print('Hello, world!')", "Hello, world!"),
    "no end of line": ("import os\nos.write(1, b'raw')", [{"stdin": "", "stdout": "raw"}]),
    "leaving by exit()": ("print(input()); exit()\nprint(0)", [{"stdin": "5", "stdout": "5"}]),
    "leaving by quit(0)": ("print(input()); quit(0)\nprint(0)", [{"stdin": "5", "stdout": "5"}]),
    "two megabytes of output": (
        "for _ in range(int(input())): print('abcdefghij' * 2)",
        [{"stdin": "100000", "stdout": ("abcdefghij" * 2 + "\n") * 100_000}],
    ),
    "a long list of floats": (
        "def f(n): return [i / 7 for i in range(n)]",
        [{"function": "f", "args": [50_000], "expected": [i / 7 for i in range(50_000)]}],
    ),
    "a Counter": (
        "from collections import Counter\ndef f(s): return Counter(s)",
        ["assert f('aab') == {'a': 2, 'b': 1}"],
    ),
    "a defaultdict in a list": (
        (
            "from collections import defaultdict\ndef f(s):\n    d = defaultdict(list)\n    for k,"
            " v in s: d[k].append(v)\n    return [d]"
        ),
        ["assert f([(1, 2), (1, 3)]) == [{1: [2, 3]}]"],
    ),
    "an OrderedDict": (
        "from collections import OrderedDict\ndef f(s): return OrderedDict((c, 1) for c in s)",
        ["assert f('ba') == {'a': 1, 'b': 1}"],
    ),
    "a named tuple": (
        (
            "from typing import NamedTuple\nclass P(NamedTuple):\n    x: int\n    y: int\ndef f(x):"
            " return P(x, x)"
        ),
        ["assert f(1) == (1, 1)"],
    ),
    "a generator where a test makes a list": (
        "def f(n):\n    for i in range(n): yield i",
        [
            "assert list(f(3)) == [0, 1, 2]",
            "assert set(f(2)) == {0, 1}",
            "assert tuple(f(1)) == (0,)",
        ],
    ),
    "a view where a test sorts": (
        "def f(s): return dict.fromkeys(s).keys()",
        ["assert sorted(f('ba')) == ['a', 'b']"],
    ),
    "a range where a test sums": (
        "def f(n): return range(n)",
        ["assert sum(f(4)) == 6", "assert max(f(4)) == 3"],
    ),
    "numbers for the keys of JSON": (
        "def f(xs): return {x: xs.count(x) for x in xs}",
        [{"function": "f", "args": [[1, 1, 2]], "expected": {"1": 2, "2": 1}}],
    ),
    "rounded by the test": (
        "def f(x): return x / 3",
        ["assert round(f(1), 2) == 0.33", "assert round(f(3)) == 1"],
    ),
    "a range among the arguments": (
        "def f(xs): return sum(xs)",
        ["assert f(list(range(10))) == 45"],
    ),
    "a large power": ("def f(n): return 2 ** n", ["assert f(5000) == 2 ** 5000"]),
}
