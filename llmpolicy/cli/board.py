"""The verbs of the board."""

from pathlib import Path
from typing import Annotated

import typer

from llmpolicy.cli.app import app, check_file, write_json
from llmpolicy.terminal import tell

board = typer.Typer(
    no_args_is_help=True,
    help="How soon a trainer reaches a held-out accuracy, beside others on the same problems.",
)
app.add_typer(board, name="board")

Results = Annotated[Path, typer.Option(metavar="DIR", help="Where the results lie.")]


@board.command()
def run(
    row: Annotated[
        str, typer.Argument(metavar="ROW", help="A shipped row's name, or a row's YAML file.")
    ],
    task: Annotated[
        list[str] | None, typer.Option(help="A problem; all that the row has by default.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0, 1, ... so many.")] = 5,
    out: Results = Path("runs/board"),
) -> None:
    """Train a row on its problems, once a seed, until the target; results that are there are
    kept.
    """
    from llmpolicy.board import load_row, run_row

    found = load_row(row)
    run_row(found, row, out, problems=task or list(found.problems), seeds=range(seeds), say=tell)


@board.command()
def show(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the results lie.")] = Path(
        "runs/board"
    ),
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the board to this file.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw it into this PNG or SVG.")
    ] = None,
) -> None:
    """Show the board: seconds and generated tokens until each target, and what is no difference."""
    from llmpolicy.board import read_board
    from llmpolicy.board.text import lines, plot_board

    check_file(json_file)
    check_file(plot, "--plot")
    found = read_board(folder)
    for line in lines(found):
        tell(line)
    write_json(json_file, found.to_dict())
    if plot is not None:
        plot_board(found, plot)
