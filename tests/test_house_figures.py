"""The figures of the house are what a count by hand gives."""

from pathlib import Path

from scripts.house import File, figures

SOURCE = '''"""A room."""

# a comment


def loud(names, one):
    found = [name for name in names if name]
    return {name: (1 if name else 0) for name in found} if recipe.sft is not None else None
'''


def test_figures_are_those_of_a_count_by_hand(tmp_path: Path) -> None:
    place = tmp_path / "room.py"
    place.write_text(SOURCE + "x = " + "1" * 100 + "\n")
    counted = figures([File.read(place)])
    assert counted["files"] == "1" and counted["lines"] == "9"
    # Five lines of code, the docstring among them; two comprehensions and two conditionals.
    assert counted["comprehensions and conditional expressions per 100 lines"] == "80.0"
    assert counted["lines with two of them"] == "1"
    # names, one, found, name, name, x
    assert counted["vague names of all bound"] == "33.3 % (one 1, found 1)"
    assert counted["lines above 100 columns"] == "11.1 %"
    assert counted["tests of a recipe's kind"] == "1 in 1 files"
