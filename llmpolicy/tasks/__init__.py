"""Tasks: rows of a dataset or generator as prompts, with a held-out part that training never sees.
No torch here.
"""

from llmpolicy.tasks.demonstrations import Demonstration, load_demonstrations
from llmpolicy.tasks.mixture import Tasks, load_task, load_tasks
from llmpolicy.tasks.preferences import Pair, Pairs, load_pairs
from llmpolicy.tasks.rows import Row, prompt_text
from llmpolicy.tasks.spec import Example, TaskSpec
from llmpolicy.tasks.split import check_disjoint, hold_out, within

__all__ = [
    "Demonstration",
    "Example",
    "Pair",
    "Pairs",
    "Row",
    "TaskSpec",
    "Tasks",
    "check_disjoint",
    "hold_out",
    "load_demonstrations",
    "load_pairs",
    "load_task",
    "load_tasks",
    "prompt_text",
    "within",
]
