"""Names that a program may use without an import, because those who set the task provide them."""

import re
from collections.abc import Collection

_TYPING = (
    "Any Callable DefaultDict Deque Dict FrozenSet Generator Generic Iterable Iterator List Literal"
    " Mapping NamedTuple Optional Sequence Set Tuple Type TypeVar Union"
)
_LEETCODE = {
    "bisect": "bisect bisect_left bisect_right insort insort_left insort_right",
    "collections": "ChainMap Counter OrderedDict defaultdict deque namedtuple",
    "copy": "copy deepcopy",
    "functools": "cache cmp_to_key lru_cache partial reduce",
    "heapq": "heapify heappop heappush heappushpop heapreplace merge nlargest nsmallest",
    "itertools": (
        "accumulate chain combinations combinations_with_replacement count cycle groupby islice"
        " pairwise permutations product repeat starmap takewhile zip_longest"
    ),
    "math": (
        "ceil comb cos exp factorial floor gcd inf isqrt lcm log log2 log10 perm pi prod sin"
        " sqrt tan"
    ),
    "operator": "itemgetter",
    "string": "ascii_letters ascii_lowercase ascii_uppercase digits",
}
_MODULES = (*_LEETCODE, "datetime", "json", "random", "re", "statistics", "sys")
_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_SOLUTION = re.compile(r"^class\s+Solution\b", re.MULTILINE)
_FUTURE = re.compile(r"^from __future__ import [^\n(]*\n", re.MULTILINE)


def with_names(code: str, called: Collection[str | None]) -> str:
    """The program with imports of the names that it uses and that are given: those of typing, and
    for a class Solution those of LeetCode. Never a name that is called, so that a program without
    it stays without it.
    """
    used = set(_WORD.findall(code)).difference(called)
    imports = _from("typing", _TYPING, used)
    if "Solution" in used and _SOLUTION.search(code):
        for module in filter(used.__contains__, _MODULES):
            imports += f"import {module}\n"
        # copy and bisect are functions of that name too, which LeetCode's star imports leave; a
        # program writes copy.copy.
        for module, names in _LEETCODE.items():
            imports += _from(module, names, used.difference(_MODULES))
    start = 0
    if imports and "__future__" in code:
        for line in _FUTURE.finditer(code):
            start = line.end()
    return code[:start] + imports + code[start:]


def _from(module: str, names: str, used: set[str]) -> str:
    wanted = ", ".join(filter(used.__contains__, names.split()))
    return f"from {module} import {wanted}\n" if wanted else ""
