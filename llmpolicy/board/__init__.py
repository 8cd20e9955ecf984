"""The board: how soon a trainer brings a base to a held-out accuracy, in seconds and in generated
tokens, measured the same way for every trainer.
"""

from llmpolicy.board.problems import Problem, problems
from llmpolicy.board.result import Result
from llmpolicy.board.results import Board, read_board
from llmpolicy.board.rows import BoardRow, load_row, rows
from llmpolicy.board.run import run_row

__all__ = [
    "Board",
    "BoardRow",
    "Problem",
    "Result",
    "load_row",
    "problems",
    "read_board",
    "rows",
    "run_row",
]
