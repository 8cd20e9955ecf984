"""The unmodified client of the Hub, in a process of its own, against tests/hub_server.py."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.hub_server import HubServer

ROOT = Path(__file__).parent.parent
NAME = "me/tiny"
DRIVER = """
import json, sys

def loopback_only(event, args):
    if event == "socket.connect" and args[1][0] != "127.0.0.1":
        raise RuntimeError(f"connection to {args[1]}")

sys.addaudithook(loopback_only)
from huggingface_hub import snapshot_download
from llmpolicy.errors import LLMPolicyError
from llmpolicy.publish import hub, publish
from llmpolicy.run import Run

answers, sys.stdout = sys.stdout, sys.stderr
usual = {"WAITS": (0.0, 0.0, 0.0, 0.0), "ANSWER": hub.ANSWER, "TRANSFER": hub.TRANSFER, "LONGEST_WAIT": hub.LONGEST_WAIT}
for line in sys.stdin:
    job = json.loads(line)
    folder = job.pop("download", None)
    for name, value in {**usual, **job.pop("limits", {})}.items():
        setattr(hub, name, value)
    try:
        if folder:
            answer = snapshot_download(job["repo"], local_dir=folder)
        else:
            made = publish(Run.open(job.pop("run")), job.pop("repo"), **job)
            answer = [made.repo_url, made.commit, {file.name: file.sha256 for file in made.files}]
    except LLMPolicyError as error:
        answer = {"refused": str(error)}
    print(json.dumps(answer), file=answers, flush=True)
"""


@dataclass
class Client:
    """Jobs go in, answers come out; a process of its own, because HF_ENDPOINT is read when the
    client is imported.
    """

    process: subprocess.Popen[str]

    def __call__(self, **job: Any) -> Any:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"repo": NAME, **job}, default=str) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the client died; its traceback stands above"
        return json.loads(line)


def environment(hub: HubServer, home: Path, **more: str) -> dict[str, str]:
    ours = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_TOKEN": "dummy",
        "NO_PROXY": "127.0.0.1",
    }
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))
    }
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    return {**kept, **ours, **quiet, **more}


def start(hub: HubServer, home: Path, **more: str) -> Client:
    command = [sys.executable, "-c", DRIVER]
    pipe = subprocess.PIPE
    env = environment(hub, home, **more)
    return Client(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=env, cwd=home))
