"""What the verbs share: the application, options, and a result as a file."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from llmpolicy.signals import Interrupted


class Verbs(TyperGroup):
    """The verbs, when Ctrl-C ends one: typer would leave without a word."""

    def invoke(self, ctx: Any) -> Any:
        """Run a verb; raises Stopped for Ctrl-C."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Stopped(Interrupted.of(error)) from None


class Stopped(Exception):
    """A verb was ended by a signal."""

    def __init__(self, why: Interrupted) -> None:
        super().__init__(str(why) or "stopped at once: nothing was saved")
        self.code = 128 + why.number


app = typer.Typer(
    cls=Verbs,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Fine-tune a language model as a policy: scored by your own function, improved by GRPO.",
)


Yes = Annotated[
    bool,
    typer.Option(
        "--yes", help="Run the code that it names, also where it has not run here before."
    ),
]


def check_file(path: Path | None, option: str = "--json") -> None:
    """What is found out in minutes must have a place to go."""
    if path is not None and path.is_dir():
        raise typer.BadParameter(f"{option} {path} is a folder; expected a file")
    if path is not None and not path.absolute().parent.is_dir():
        raise typer.BadParameter(f"{option} {path}: there is no folder {path.parent}")


def write_json(path: Path | None, data: Any) -> None:
    """Write plain data into the file that was asked for, if one was."""
    if path is not None:
        path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
