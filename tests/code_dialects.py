"""Rows as public data sets of programming tasks have them: the columns, programs that are right, programs that are wrong.

``READ`` are judged, ``REFUSED`` are None with the words given: what cannot be judged is neither right nor wrong.
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
_PRIME_STDIN = [{"type": "stdin_stdout", "fn_name": None, "input": "1 2\n", "output": "3\n"},
                {"type": "stdin_stdout", "fn_name": None, "input": "3 4\n", "output": "7\n"}]  # fmt: skip
_PROGRAM = ([SUM], [LAST, NOTHING, "print(3)", "print('3\\n7')"])
_FUNCTION = ([ADD, METHOD], [SUBTRACT, NOTHING, "def add(a, b): return 3", "def add(a, b): return str(a + b)"])
_SORT = "def order(xs): return sorted(xs)"

READ = {
    "APPS programs": ({"tests": _TWO}, *_PROGRAM),
    "APPS programs as JSON": ({"tests": json.dumps(_TWO)}, *_PROGRAM),
    "APPS programs, texts as lines": ({"tests": {"inputs": [["1 2"], ["3 4"]], "outputs": [["3"], ["7"]]}}, *_PROGRAM),
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
        {"tests": {"input_output": json.dumps(_CALLS), "starter_code": "", "difficulty": "interview"}},
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
    "LiveCodeBench, programs": ({"tests": json.dumps(_stdin(("1 2", "3"), ("3 4\n", "7\n")))}, *_PROGRAM),
    "LiveCodeBench, functional": (
        {"tests": json.dumps(_functional(("1\n2", "3"), ("3\n4", "7"))), "entry_point": "add"},
        *_FUNCTION,
    ),
    "LiveCodeBench, functional, its own name": (
        {"tests": _functional(("1\n2", "3"), ("3\n4", "7"), metadata={"func_name": "add"})},
        *_FUNCTION,
    ),
    "LiveCodeBench, a list and a text": (
        {"tests": _functional(('["a", "b"]\n"-"', '"a-b"'), ('["x"]\n"-"', '"x"')), "entry_point": "joined"},
        ["class Solution:\n    def joined(self, xs: List[str], by: str) -> str: return by.join(xs)"],
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
        ["def f(x): return 1 if x else None", "def f(x): return bool(x)", "def f(x): return 'true' if x else 'null'"],
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
                "official_tests": [{"input": "1 2", "output": "3"}, {"input": "3 4", "output": "7"}],
                "generated_checker": None,
                "input_mode": "stdio",
            }
        },
        *_PROGRAM,
    ),
    "SYNTHETIC-1, programs": ({"tests": {"language": "python", "test_cases": _PRIME_STDIN}}, *_PROGRAM),
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
                "test_list": ["assert math.isclose(half(1), 0.5, rel_tol=1e-3)", "assert half(3) == 1.5"],
                "test_imports": ["import math"],
            }
        },
        ["def half(x): return x / 2"],
        ["def half(x): return x // 2", "def half(x): return 0.5"],
    ),
    "LeetCodeDataset": (
        {
            "tests": "def check(candidate):\n    assert candidate(a = 1, b = 2) == 3\n    assert candidate(a = 3, b = 4) == 7\n",
            "entry_point": "Solution().add",
        },
        [METHOD],
        [METHOD.replace("+", "-"), NOTHING],
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
                "private_test_cases": "eJxrYJmaz8gABhHdiVnVSqWlmSn5pcVKVgqGxjGlBmbGhpYGCpYGRuamxqYWRgYGFqaW",
            }
        },
        "packed",
    ),
    "LiveCodeBench without a name": ({"tests": _functional(("1\n2", "3"))}, "names no function"),
    "LiveCodeBench, no JSON": ({"tests": _functional(("1\nx", "3")), "entry_point": "add"}, "no JSON"),
    "a checker": (
        {"tests": {"official_tests": [{"input": "1", "output": "2"}], "generated_checker": "import sys"}},
        "a program of its own (generated_checker)",
    ),
    "files": ({"tests": {"official_tests": [{"input": "1", "output": "2"}], "input_mode": "file"}}, "files"),
    "CodeContests with a file": (
        {"tests": {"public_tests": {"input": ["1"], "output": ["2"]}, "input_file": "a.in"}},
        "files",
    ),
    "another language": ({"tests": {"language": "javascript", "test_cases": _PRIME_STDIN}}, "javascript"),
    "another type": ({"tests": [{"type": "interactive", "input": "1", "output": "2"}]}, "type 'interactive'"),
    "arguments without a name": ({"tests": {"inputs": [[1, 2]], "outputs": [3]}}, "no text of a program"),
    "lists of tests or of lines": (
        {"tests": [{"input": ["1 2", "3 4"], "output": ["3", "7"]}]},
        "several tests, or of the lines of one",
    ),
    "two lengths": ({"tests": {"input": ["1", "2"], "output": ["1"]}}, "one length"),
}
