"""The verbs that train, measure and publish."""

from pathlib import Path
from typing import Annotated, Any

import typer

from llmpolicy.cli.app import Yes, app, check_file, write_json
from llmpolicy.signals import terminable
from llmpolicy.terminal import tell


def _folder(name: str | Path) -> Path:
    """An option's folder; an empty text is a variable that was not set, and would be the current
    one.
    """
    if not str(name).strip():
        raise typer.BadParameter("is empty; expected a folder")
    return Path(name)


RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe file, or the name of a bundled one.")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Such as grpo.max_steps=20.")
]

RemoteCode = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Run the code that comes with a model. Dangerous."),
]
AcceptChanges = Annotated[
    bool,
    typer.Option("--accept-changes", help="Go on although files changed since the run was made."),
]


@app.command()
def train(
    recipe: RecipeName,
    overrides: Overrides = None,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=_folder, metavar="DIR", help="The run's directory; runs/NAME by default."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of --out.")
    ] = False,
    accept_changes: AcceptChanges = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything that can be checked without a model."),
    ] = False,
    unsafe_local_exec: Annotated[
        bool,
        typer.Option(
            "--unsafe-local-exec", help="Run the model's code without a sandbox. Dangerous."
        ),
    ] = False,
    until: Annotated[
        str | None, typer.Option(help="The last stage to carry out: sft or reward_model.")
    ] = None,
    trust_remote_code: RemoteCode = False,
    yes: Yes = False,
) -> None:
    """Train a recipe: generate, score, improve, evaluate, and keep the record of it."""
    from llmpolicy.session import train_recipe

    train_recipe(
        recipe,
        _with_remote_code(overrides, trust_remote_code),
        out=out,
        resume=resume,
        accept_changes=accept_changes,
        dry_run=dry_run,
        unsafe_local_exec=unsafe_local_exec,
        until=until,
        yes=yes,
    )


@app.command()
def evaluate(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL_OR_RUN", help="A run, a model, an adapter or a merged model."
        ),
    ],
    recipe: Annotated[
        str | None, typer.Option(help="The recipe whose task and evaluation are used.")
    ] = None,
    overrides: Overrides = None,
    accept_changes: AcceptChanges = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the result to this file.")
    ] = None,
    trust_remote_code: RemoteCode = False,
    yes: Yes = False,
) -> None:
    """Measure held-out accuracy with its interval, beside the base on the same prompts."""
    from llmpolicy.session import evaluate_model

    check_file(json_file)
    overrides = _with_remote_code(overrides, trust_remote_code)
    result = evaluate_model(model, recipe, overrides, accept_changes=accept_changes, yes=yes)
    write_json(json_file, result)


@app.command()
def play(
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="A recipe with an environment.")
    ] = None,
    overrides: Overrides = None,
    model: Annotated[
        str | None, typer.Option(help="A run, a model or an adapter; the recipe's by default.")
    ] = None,
    number: Annotated[int, typer.Option("-n", min=1, help="How many dialogues.")] = 3,
    greedy: Annotated[bool, typer.Option("--greedy", help="Take the likeliest token.")] = False,
    again: Annotated[
        str | None,
        typer.Option("--replay", metavar="FILE:LINE", help="Ask again where one had failed."),
    ] = None,
    trust_remote_code: RemoteCode = False,
    yes: Yes = False,
) -> None:
    """Hold a few dialogues with a recipe's environment and print them whole."""
    from llmpolicy.session.play import play_recipe, replay_dialogue

    if again is not None:
        tell(replay_dialogue(again, yes=yes))
        return
    if recipe is None:
        raise typer.BadParameter("name a recipe, or give --replay FILE:LINE")
    overrides = _with_remote_code(overrides, trust_remote_code)
    play_recipe(recipe, overrides, model=model, n=number, greedy=greedy, yes=yes)


@app.command()
def explain(
    recipe: Annotated[
        str | None,
        typer.Argument(metavar="RECIPE", help="A recipe; without one a usual step of --model."),
    ] = None,
    overrides: Overrides = None,
    target: Annotated[str, typer.Option("--for", help="cpu or gpu.")] = "cpu",
    processes: Annotated[int, typer.Option(help="How many processes will train.")] = 1,
    model: Annotated[
        str | None,
        typer.Option(metavar="SIZE|DIR", help="With --for gpu: 0.5B, 1.5B, 7B, 14B, 32B."),
    ] = None,
    world: Annotated[
        int | None, typer.Option(metavar="N", help="With --for gpu: on so many GPUs.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="With --model or --world: h100, h200, a100 or rtx4090.")
    ] = "h100",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write it to this file.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Say what a recipe means: where each value came from, and the arithmetic of its steps; on so
    many GPUs memory, products and seconds too. Loads no model.
    """
    from llmpolicy.session.evaluate import explain_recipe
    from llmpolicy.session.scale import scale_of

    check_file(json_file)
    is_sized = model is not None or world is not None
    if is_sized and target != "gpu":
        raise typer.BadParameter("--model and --world size a step on GPUs: add --for gpu")
    told: dict[str, Any] = {}
    if recipe is not None:
        explanation = explain_recipe(
            recipe, overrides or (), target=target, processes=processes, yes=yes
        )
        tell(str(explanation))
        told = explanation.to_dict()
    if recipe is None or is_sized:
        named = None if recipe is None else (recipe, overrides or (), processes)
        scale = scale_of(model, world, device, named)
        tell(str(scale))
        told = {**told, "scale": scale.to_dict()} if told else scale.to_dict()
    write_json(json_file, told)


@app.command()
def probe(
    recipe: RecipeName,
    overrides: Overrides = None,
    prompts: Annotated[int, typer.Option(min=1, help="How many prompts are sampled.")] = 64,
    group: Annotated[
        int | None,
        typer.Option(min=2, help="Samples of each; at least 16, a multiple of the recipe's."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write what was found to this file.")
    ] = None,
    trust_remote_code: RemoteCode = False,
    yes: Yes = False,
) -> int:
    """Say before training whether it is worth it: signal, lengths, rewards, seconds and memory, GO
    or NO-GO.
    """
    from llmpolicy.diagnosis.probe_text import told
    from llmpolicy.session.probe import probe_recipe

    check_file(json_file)
    overrides = _with_remote_code(overrides, trust_remote_code)
    with terminable():  # what it has made goes away with it
        found = probe_recipe(recipe, overrides, prompts=prompts, samples=group, yes=yes)
    tell(told(found))
    write_json(json_file, found.to_dict())
    return 0 if found.go else 1


@app.command(name="check-reward")
def check_reward(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="module:function or path.py:function.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Rows of the task: .jsonl, .csv or .parquet.")
    ] = None,
    args: Annotated[
        list[str] | None,
        typer.Option("--arg", metavar="KEY=VALUE", help="An argument, as in a recipe."),
    ] = None,
    style: Annotated[str | None, typer.Option(help="single, group or trl, as in a recipe.")] = None,
    attacks: Annotated[
        Path | None, typer.Option(help="Attacks of your own, one JSON object a line.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write what was found to this file.")
    ] = None,
    again: Annotated[
        str | None,
        typer.Option("--replay", metavar="FILE:LINE", help="Score one noted call again."),
    ] = None,
    yes: Yes = False,
) -> int:
    """Check a reward without a model: its examples, gold answers, determinism, time, and what it
    pays that is wrong.
    """
    from llmpolicy.audit.show import check, replay

    if again is not None:
        tell(replay(again, yes=yes))
        return 0
    if name is None:
        raise typer.BadParameter("name a reward, or give --replay FILE:LINE")
    check_file(json_file)
    report = check(name, data=data, args=args or (), attacks=attacks, style=style)  # type: ignore[arg-type]
    write_json(json_file, report.to_dict())
    return 0 if report.clean else 1


@app.command()
def publish(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run's directory.")],
    repo: Annotated[str, typer.Option(help="USER/NAME on the Hub.")],
    what: Annotated[str | None, typer.Option(help="adapter or merged.")] = None,
    which: Annotated[
        str | None, typer.Option(help="last or best; the best held-out step when there is one.")
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Publish openly; private by default.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the files and send nothing.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what was edited on the Hub since.")
    ] = False,
    samples: Annotated[
        bool | None,
        typer.Option(
            "--samples/--no-samples",
            help="Show held-out prompts and completions on the card, or not.",
        ),
    ] = None,
    trust_remote_code: RemoteCode = False,
) -> None:
    """Push the trained model to the Hub with its evidence: an explicit list of files, private by
    default.
    """
    from llmpolicy.publish import publish_run

    how: dict[str, Any] = {"public": public, "dry_run": dry_run, "overwrite": overwrite}
    how |= {"samples": samples, "trust_remote_code": trust_remote_code}
    publish_run(run, repo, what=what, which=which, **how)


@app.command()
def demo(
    overrides: Overrides = None,
    out: Annotated[
        Path,
        typer.Option(
            parser=_folder,
            metavar="DIR",
            help="The run's directory; an earlier demo there is replaced.",
        ),
    ] = Path("runs/demo"),
) -> None:
    """Teach the bundled model to add, in under two minutes on a laptop."""
    from llmpolicy.session import run_demo

    run_demo(out, overrides or ())


def _with_remote_code(overrides: list[str] | None, trusted: bool) -> list[str]:
    return [*(overrides or ()), *["model.trust_remote_code=true"] * trusted]
