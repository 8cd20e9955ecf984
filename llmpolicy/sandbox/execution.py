"""From what the keeper reports and the job wrote to an outcome. Nothing here says whether a result
is right.
"""

import json
import signal
from dataclasses import dataclass, replace

from llmpolicy.errors import SandboxFault
from llmpolicy.sandbox.records import Execution, Job, Limits

_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of a job's process: why it was killed (None: it ended), its exit code, what it
    said of being confined.

    ``cpu`` seconds of processor time, ``wall`` by the clock, of which it was ``starved``: it wanted
    to run and others did.
    """

    killed: str | None
    exit: int
    cpu: float
    wall: float
    starved: float
    refused: str


def execution(
    job: Job, limits: Limits, nonce: str, report: Report, output: bytes, error: bytes
) -> Execution:
    """The outcome of one job; SandboxFault when the sandbox or the machine, and not the code, was
    at fault.
    """
    if report.refused != "confined":
        raise SandboxFault(
            f"the sandbox could not be closed around the code: {report.refused or 'no word'}"
        )
    alone = report.wall - report.starved
    if report.killed == "patience" and alone < limits.wall:
        raise SandboxFault(
            f"the machine was too busy: {report.cpu:.1f} s of processor time in {report.wall:.1f} s"
        )
    ended = _failed(job, limits, report, output) or _read(job, nonce, report.exit, output, error)
    return replace(ended, cpu=report.cpu, alone=max(alone, report.cpu))


def _failed(job: Job, limits: Limits, report: Report, output: bytes) -> Execution | None:
    if report.killed == "cpu" or -report.exit == signal.SIGXCPU:
        return Execution("processor", why=f"more than {limits.cpu:g} s of processor time")
    if report.killed is not None:
        return Execution("waited", why=f"no end after {report.wall:.1f} s")
    if len(output) > min(job.most, limits.output - 1):
        return Execution("output", why=f"more than {min(job.most, limits.output)} bytes of output")
    if report.exit < 0:
        return Execution("died", why=f"ended by signal {-report.exit}")
    return None


def _read(job: Job, nonce: str, code: int, output: bytes, error: bytes) -> Execution:
    if job.call is not None:
        return _returned(nonce, output, code)
    if code != 0:
        says = error.decode("utf-8", "replace").strip()[-_SHOWN:]
        return Execution("exited", why=f"exit status {code}: {says}".removesuffix(": "))
    try:
        return Execution("finished", stdout=output.decode("utf-8"))
    except UnicodeDecodeError:
        return Execution("exited", why="the output is no UTF-8 text")


def _returned(nonce: str, output: bytes, code: int) -> Execution:
    """Exactly one line, with the nonce in front; anything else came from the code, or it ended
    before it returned.
    """
    if not output:
        return Execution("exited", why=f"it ended without a result, exit status {code}")
    line = output.removesuffix(b"\n")
    if b"\n" in line or len(line) == len(output) or not line.startswith(nonce.encode()):
        return Execution("forged", why="the result is not the one line that was expected")
    try:
        result = json.loads(line[len(nonce) :].decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        result = None
    if not isinstance(result, dict) or len(result) != 1:
        return Execution("forged", why="the result cannot be read")
    if "returned" in result:
        return Execution("returned", value=result["returned"])
    return Execution("raised", why=f"raised {result.get('raised')!s:.{_SHOWN}}")
