"""The command line: each verb is a plain function, and an error is one sentence."""

import contextlib
import errno
import os
import sys
from typing import Any

import typer

from llmpolicy.cli import board, reading, verbs
from llmpolicy.cli.app import Stopped, app, write_json
from llmpolicy.errors import LLMPolicyError, one_line
from llmpolicy.grpo.peers import PeerError
from llmpolicy.signals import end_with_launcher, is_main
from llmpolicy.terminal import begun_by, open_standard, show_all, show_traceback, shown, wrapped
from llmpolicy.tuning import keep_memory, spin_less

__all__ = ["app", "board", "reading", "run", "verbs", "write_json"]


def run() -> None:
    """Run the command line; errors of ours become one sentence and exit code 2."""
    open_standard()
    show_all()
    begun_by(sys.argv[1:])
    # TRL's trainers would tell the Hub that a run began, outside of CI.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    spin_less()
    keep_memory()
    end_with_launcher()
    try:
        outcome: Any = app(standalone_mode=False)
    except typer.Exit as error:
        raise SystemExit(error.exit_code) from None
    except Stopped as stopped:
        _say(str(stopped))
        raise SystemExit(stopped.code) from None
    except Exception as error:  # noqa: BLE001 - shown as Python shows it
        sentence = _sentence(error)
        if sentence is None:
            show_traceback(error)
            raise SystemExit(1) from None
        if sentence:  # without arguments the help was shown
            _say(f"error: {sentence}", on_each_host=isinstance(error, PeerError))
        raise SystemExit(2) from None
    else:
        raise SystemExit(outcome if isinstance(outcome, int) else 0)


def _sentence(error: Exception) -> str | None:
    """What to say of an error that a user can do something about; None of any other."""
    if isinstance(error, LLMPolicyError):
        return str(error)
    from llmpolicy.run.disk import unwritten

    words = one_line(error)
    if unwritten(error) in (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT)):
        return (
            f"a file could not be written ({words:.160}): free some space on the disk, then give"
            " the same command again, with --out DIR --resume if the run has a checkpoint"
        )
    if _ran_out(error):
        return (
            f"memory ran out ({words or type(error).__name__:.160}): lower"
            " per_device_train_batch_size, max_completion_length or evaluate.batch_size, load the"
            " model in 16 or 4 bits, or take a smaller one; a run with a checkpoint goes on with"
            " --out DIR --resume"
        )
    if isinstance(error, OSError) and (error.filename or error.errno) is not None:
        return f"{error.filename or 'a file'}: {error.strerror or error}"
    if any(kind.__name__ == "ClickException" for kind in type(error).__mro__):
        return str(getattr(error, "format_message", error.__str__)())
    return None


def _ran_out(error: Exception) -> bool:
    if isinstance(error, MemoryError) or "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from llmpolicy.policies.causal_lm.out_of_memory import ran_out

    return ran_out(error)


def _say(sentence: str, *, on_each_host: bool = False) -> None:
    if is_main() or (on_each_host and os.environ.get("LOCAL_RANK") == "0"):
        with contextlib.suppress(OSError):  # a terminal that is gone
            print(wrapped(shown(sentence)), file=sys.stderr, flush=True)
