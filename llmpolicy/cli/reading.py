"""The verbs that read a run which was made."""

from pathlib import Path
from typing import Annotated

import typer

from llmpolicy.cli.app import Yes, app, check_file, write_json
from llmpolicy.terminal import tell


@app.command()
def doctor(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run, or the output folder of TRL's trainer.")
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write what was found to this file.")
    ] = None,
) -> int:
    """Say what is wrong with a run: each finding with its numbers, the completions that show it,
    and what to change.
    """
    from llmpolicy.diagnosis import diagnose, evidence_at

    check_file(json_file)
    found = diagnose(evidence_at(run))
    tell(str(found))
    write_json(json_file, found.to_dict())
    return 1 if found.findings else 0


@app.command()
def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run, or the output folder of TRL's trainer.")
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The page; report.html in RUN by default.")
    ] = None,
) -> None:
    """Write a run as one page of HTML: findings, curves, groups, what changed, all rollouts."""
    from llmpolicy.report.page import write_page

    check_file(out, "--out")
    page = write_page(run, out)
    tell(f"page: {page} ({page.stat().st_size / 1e6:.1f} MB); open it in a browser")


@app.command()
def view(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run, or the output folder of TRL's trainer.")
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 finds a free one.")] = 0,
) -> None:
    """Show a run's page to this machine's browsers, and follow the run while it goes on."""
    from llmpolicy.report.view import serve

    serve(run, port, tell)


@app.command()
def show(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run, or the output folder of TRL's trainer.")
    ],
    step: Annotated[
        int | None, typer.Option(help="The step whose groups are shown; the last by default.")
    ] = None,
    prompt: Annotated[
        int | None, typer.Option(metavar="ROW", help="The row of the data, in every step.")
    ] = None,
    never: Annotated[
        bool, typer.Option("--unsolved", help="The prompts that were never solved.")
    ] = False,
    whole: Annotated[bool, typer.Option("--all", help="All of them, not only a few.")] = False,
) -> None:
    """Print a run's groups: each prompt with its completions, their rewards and advantages; below
    those of the last step how many held-out prompts are right within k samples.
    """
    from llmpolicy.diagnosis import evidence_at
    from llmpolicy.report.groups import SHOWN, groups
    from llmpolicy.report.passes import passes
    from llmpolicy.report.unsolved import unsolved

    found, limit = evidence_at(run), None if whole else SHOWN
    if never:
        tell(unsolved(found, limit=limit))
        return
    tell(groups(found, step=step, row=prompt, limit=limit))
    if step is None and prompt is None and (curve := passes(found.evaluation or {})):
        tell(f"\n{curve}")


@app.command()
def compare(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN...", help="Each is compared with the first.")
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the result to this file.")
    ] = None,
) -> None:
    """Compare runs on the held-out prompts that they share: how much better, with an interval, or
    that nothing shows it.
    """
    from llmpolicy.diagnosis.compare import compare as compared
    from llmpolicy.run import Run

    check_file(json_file)
    if len(runs) < 2:
        raise typer.BadParameter("name two runs or more")
    first, *others = map(Run.open, runs)
    found = [compared(first, other) for other in others]
    tell("\n".join(map(str, found)))
    results = [comparison.to_dict() for comparison in found]
    write_json(json_file, {"schema": 1, "comparisons": results})


@app.command()
def rescore(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run's directory.")],
    rewards: Annotated[
        list[str],
        typer.Option(
            "--reward",
            metavar="NAME",
            help="As in rewards: of a recipe; more than one may be given.",
        ),
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the result to this file.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Score a run's completions with another reward: which groups come alive or die, what is paid
    now and was not.
    """
    from llmpolicy.session.rescore import rescore_run

    check_file(json_file)
    found = rescore_run(run, rewards, yes=yes)
    tell(str(found))
    write_json(json_file, found.to_dict())


@app.command()
def inspect(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL_OR_RUN", help="A run, a model's folder or Hub id, or bundled."
        ),
    ],
    prompt: Annotated[str, typer.Option(help="What the policy goes on from.")],
    completion: Annotated[
        str | None, typer.Option(help="What is looked at; the likeliest one by default.")
    ] = None,
    chat: Annotated[bool, typer.Option("--chat", help="The prompt is a user's message.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the result to this file.")
    ] = None,
) -> None:
    """Show the next token's distribution after a prompt, and the log-probability of each token of a
    completion; of a run beside the policy that it started from.
    """
    from llmpolicy.session.inspect import inspect_model

    check_file(json_file)
    found = inspect_model(model, prompt, completion, chat=chat)
    tell(str(found))
    write_json(json_file, found.to_dict())
