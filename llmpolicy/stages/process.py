"""The process a run happens in: which one writes and on what it computes."""

import os
import shlex
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from llmpolicy.errors import RunError
from llmpolicy.grpo.peers import SHARES, PeerError, among_peers
from llmpolicy.run import Run
from llmpolicy.run.disk import DiskError, unwritten
from llmpolicy.run.paths import functions_in
from llmpolicy.signals import Interrupted, Signals, terminable
from llmpolicy.terminal import COMMAND, Say

SMALL = 2_000_000
"""Parameters below which a matrix product is too small to share among threads."""

_busy = threading.RLock()
_threads: list[int] = []
"""How many threads there were before a small model was given one."""

DRY_RUN = "dry run: the recipe, its rows, rewards and arithmetic are in order; no model was loaded"


def use_threads(model: Any) -> None:
    """One thread for a small model on a CPU: more gain little when the machine is free and cost
    fivefold when it is not.

    Measured on 2 cores with the bundled model of 0.35 million parameters, 256 completions a step:
    see log/2026-11.md.
    """
    import torch

    # A larger model gets back what a small one before it gave up.
    threads = max(torch.get_num_threads(), *_threads, 1)
    _threads.clear()
    parameters = list(model.parameters())
    size = sum(map(torch.Tensor.numel, parameters))
    if parameters[0].device.type == "cpu" and size < SMALL:
        _threads.append(threads)
        threads = 1
    torch.set_num_threads(threads)


def placed(policy: Any) -> Any:
    """A policy that no trainer placed, on the accelerator if there is one; 4-bit weights stay where
    they were loaded.
    """
    import torch

    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if device is not None and not getattr(policy.model, "is_quantized", False):
        policy.to(device)
    use_threads(policy.model)
    return policy


@contextmanager
def by_itself() -> Iterator[None]:
    """Refuse a second training or evaluation in one process: they share its random numbers and
    modes.
    """
    if not _busy.acquire(blocking=False):
        raise RunError(
            "another thread of this process trains or evaluates, with the same random numbers; wait"
            " for it, or start this in a process of its own"
        )
    try:
        yield
    finally:
        _busy.release()


@contextmanager
def failing(run: Run | None) -> Iterator[None]:
    """Say in the manifest that a run failed, and why, when something is raised; a stop is not a
    failure.

    A signal that ends it at once becomes Interrupted with what is kept and the command that goes
    on.
    """
    try:
        with terminable(), among_peers():
            yield
    except SystemExit:
        raise
    except KeyboardInterrupt as error:
        if run is None:
            raise
        stopped = Interrupted.of(error, _kept(run))
        if run.manifest["status"] == "running":
            with suppress(OSError, DiskError):
                _end(run, "stopped", f"{signal.Signals(stopped.number).name}, at once")
        raise stopped from None
    except BaseException as error:
        if run is not None:
            with suppress(OSError, DiskError):  # a full disk must not hide what happened
                _end(run, "failed", " ".join(f"{type(error).__name__}: {error}".split())[:300])
            if isinstance(error, DiskError):
                on = "make space and give the same command again"
                if run.checkpoints():
                    on = f"make space, then\n{go_on(run)}"
                raise DiskError(f"{error}; {on}") from error
            if isinstance(error, PeerError) and run.checkpoints():
                raise PeerError(f"{error}\n{go_on(run)}") from error
        raise


def _end(run: Run, status: str, reason: str) -> None:
    """Note how a run ended; one that was to go on and did not is left as it was."""
    if run.before is not None:
        run.withdraw()
    else:
        run.finish(status, reason=reason)


def _kept(run: Run) -> str:
    """What a run keeps that is stopped at once, and how it goes on."""
    if run.manifest["status"] != "running":
        return f"stopped at once; the run had {run.manifest['status']}: {run.path}"
    if not run.checkpoints():
        return (
            "stopped at once, before the first checkpoint: nothing was saved; give the same command"
            " again"
        )
    saved = run.checkpoints()[-1].name.rpartition("-")[2]
    return f"stopped at once: what came after the checkpoint of step {saved} is lost\n{go_on(run)}"


_IN_MEMORY = ("__main__:", "<locals>", "<lambda>", "functools:partial")
"""What stands in the name of a function that no command finds."""


def go_on(run: Run) -> str:
    """The line that names the command to go on with a run; a call where some function of it is one
    of a Python session.
    """
    if any(mark in text for text in _named(run) for mark in _IN_MEMORY):
        return (
            f"{COMMAND}train(...), with the same arguments, out={str(run.path)!r} and resume=True"
        )
    words = ["llmpolicy", "train", shlex.quote(str(run.path / "recipe.yaml"))]
    words += ["--out", shlex.quote(str(run.path)), "--resume"]
    if run.manifest.get("launcher"):
        words[:0] = [run.manifest["launcher"], "-m"]
    if run.manifest.get("code_runs_in") == "unsafe":
        words.append("--unsafe-local-exec")
    if (run.recipe.get("model") or {}).get("trust_remote_code"):
        words.append("--trust-remote-code")
    return COMMAND + " ".join(words)


def _named(run: Run) -> Iterator[str]:
    """What a run's recipe names as its functions, and their arguments, which may be functions."""
    for _, name, block in functions_in(run.recipe):
        yield name
        if isinstance(block, Mapping):
            yield str(block.get("args"))


def launcher() -> str | None:
    """The command that starts as many processes as there are, which share out the weights as these
    do; None for one alone.

    Without a file or a setting that asks for accelerate it is torchrun: on a CPU accelerate starts
    one process.
    """
    config, shares = _launch_config(), any(os.environ.get(name) == "true" for name in SHARES)
    if config or shares:
        file = f" --config_file {shlex.quote(config)}" if config else ""
        return f"accelerate launch{file} --num_processes {world_size()}"
    return _torchrun() if world_size() > 1 else None


def _torchrun() -> str:
    """What starts as many processes, on as many hosts; each host gives its own rank."""
    said, hosts = os.environ.get, int(os.environ.get("GROUP_WORLD_SIZE", "1"))
    if hosts == 1:
        return f"torchrun --nproc_per_node {world_size()}"
    meet = f"--master_addr {said('MASTER_ADDR')} --master_port {said('MASTER_PORT')}"
    here = f"--node_rank {said('GROUP_RANK')} --nproc_per_node {said('LOCAL_WORLD_SIZE')}"
    return f"torchrun --nnodes {hosts} {meet} {here}"


def _launch_config() -> str | None:
    """The file that accelerate was told to start this process by, None if it was told none."""
    with suppress(psutil.Error):
        for parent in psutil.Process().parents():
            words = [part for word in parent.cmdline() for part in word.split("=", 1)]
            if "--config_file" in words[:-1] and any("accelerate" in word for word in words):
                return str((Path(parent.cwd()) / words[words.index("--config_file") + 1]).resolve())
    return None


def end_stopped(run: Run | None, step: int, stop: Signals, say: Say) -> None:
    """After a signal: say the command that goes on, and leave with the signal's exit code."""
    from llmpolicy.report.plot import plot_run

    assert stop.signal is not None
    if run is not None:
        run.finish("stopped", steps=step, reason=stop.reason)
        drawn("plot", lambda: plot_run(run), say)
        say(go_on(run))
    raise SystemExit(128 + stop.signal)


def drawn(what: str, draw: Callable[[], Any], say: Say) -> None:
    """Draw a picture and say where it lies; one that the disk does not take is said and ends
    nothing.
    """
    try:
        say(f"{what}: {draw()}")
    except OSError as error:
        if unwritten(error) is None:
            raise
        say(f"{what}: could not be drawn ({unwritten(error)}); all else is written")


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def refuse_other_words(words: str) -> None:
    """Compare what each process has read, once they know of each other; raises RunError when it is
    not the same.
    """
    from accelerate.utils import gather_object

    if world_size() > 1 and len(set(gather_object([words]))) > 1:
        raise RunError(
            "the processes have read other settings or rows than one another, as when a file"
            " changed while they started or differs between hosts; start them again with the same"
            " files"
        )


def target() -> str:
    from llmpolicy.grpo import config

    return config.target()
