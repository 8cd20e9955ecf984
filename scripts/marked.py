"""Tables of a page between two marks, ``<!-- name -->`` and ``<!-- /name -->``, from a receipt."""

import re
from collections.abc import Mapping, Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def replaced(page: str, tables: Mapping[str, str], name: str) -> str:
    """The page with what stands between its marks replaced; SystemExit where ``name`` lacks one."""
    for mark, text in tables.items():
        marks = rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)"
        page, found = re.subn(marks, rf"\g<1>{text}\g<2>", page, flags=re.DOTALL)
        if found != 1:
            raise SystemExit(f"{name}: found {found} tables {mark!r}; expected 1")
    return page
