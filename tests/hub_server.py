"""A small server on 127.0.0.1 that speaks the part of the Hub's protocol that publishing and
downloading use.
"""

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

REPO = r"(?P<repo>[\w.-]+/[\w.-]+)"


@dataclass(frozen=True)
class Blob:
    """A file's content; of a large file that went another way (Xet) only the hash and size are
    known.
    """

    content: bytes | None
    lfs: bool
    sha256: str
    size: int

    @property
    def blob_id(self) -> str:
        text = self.content if not self.lfs else f"sha256:{self.sha256} {self.size}".encode()
        assert text is not None
        return hashlib.sha1(b"blob %d\0" % len(text) + text).hexdigest()


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str | None
    title: str
    tree: dict[str, Blob]


@dataclass
class Repo:
    private: bool
    commits: list[Commit] = field(default_factory=list)

    @property
    def tree(self) -> dict[str, Blob]:
        return self.commits[-1].tree

    def commit(self, title: str, tree: dict[str, Blob]) -> Commit:
        parent = self.commits[-1].oid if self.commits else None
        oid = hashlib.sha1(f"{parent}{title}{len(self.commits)}{sorted(tree)}".encode()).hexdigest()
        self.commits.append(Commit(oid, parent, title, tree))
        return self.commits[-1]


@dataclass
class Fault:
    """The next ``times`` requests to a route fail: with a status, or a dropped connection (None);
    ``after`` acting first.

    ``do`` happens just before; with status 0 nothing fails, and the request meets what ``do`` left.
    ``body`` and ``headers`` are what is answered, ``lie`` what becomes of a true answer; it comes
    ``late`` by so many seconds, or is ``cut`` in its middle.
    """

    route: str
    status: int | None = 503
    after: bool = False
    times: int = 1
    do: Callable[[], None] | None = None
    body: Any = field(default_factory=lambda: {"error": "injected"})
    headers: dict[str, str] = field(default_factory=dict)
    lie: Callable[[Any], Any] | None = None
    late: float = 0.0
    cut: bool = False
    met: int = 0

    def answer(self, true: "Answer | None") -> "Answer | None":
        """What is sent in the place of the true answer; None drops the connection."""
        if self.status is None:
            return None
        if self.status or true is None:
            return Answer(self.status, self.body, self.headers, self.late, self.cut)
        body = self.lie(true.body) if self.lie else true.body
        return Answer(true.status, body, {**true.headers, **self.headers}, self.late, self.cut)


@dataclass(frozen=True)
class Answer:
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    late: float = 0.0
    cut: bool = False


def plain(content: bytes) -> Blob:
    return Blob(content, False, hashlib.sha256(content).hexdigest(), len(content))


class HubServer:
    """The Hub's state and its routes; ``requests`` lists (route, method, path, authorization) of
    all that came.
    """

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, str, str | None]] = []
        self.faults: list[Fault] = []
        self.xet_url: str | None = None
        self.xet_objects: dict[str, bytes] = {}
        self.lock = threading.RLock()
        self.http = ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self})
        )
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def routes(self) -> list[tuple[str, str, str, Callable[..., Answer]]]:
        return [
            ("create", "POST", r"/api/repos/create", self.create),
            (
                "yaml",
                "POST",
                r"/api/validate-yaml",
                lambda body: Answer(body={"errors": [], "warnings": []}),
            ),
            ("preupload", "POST", rf"/api/models/{REPO}/preupload/main", self.preupload),
            ("batch", "POST", rf"/{REPO}\.git/info/lfs/objects/batch", self.batch),
            ("put", "PUT", r"/lfs/(?P<oid>\w+)", self.put),
            ("verify", "POST", r"/lfs/verify", lambda body: Answer(body={})),
            ("xet", "GET", rf"/api/models/{REPO}/xet-write-token/main", self.xet),
            ("commit", "POST", rf"/api/models/{REPO}/commit/main", self.commit),
            ("info", "GET", rf"/api/models/{REPO}(/revision/(?P<revision>\w+))?", self.info),
            ("tree", "GET", rf"/api/models/{REPO}/tree/\w+", self.tree),
            ("resolve", "GET", rf"/{REPO}/resolve/(?P<revision>\w+)/(?P<name>.+)", self.resolve),
            ("head", "HEAD", rf"/{REPO}/resolve/(?P<revision>\w+)/(?P<name>.+)", self.resolve),
        ]

    def answer(
        self, method: str, path: str, authorization: str | None, body: bytes
    ) -> Answer | None:
        """Act on one request; None means: drop the connection."""
        for route, verb, pattern, act in self.routes():
            match = re.fullmatch(pattern, path)
            if verb != method or not match:
                continue
            with self.lock:
                self.requests.append((route, method, path, authorization))
                fault = self.fault(route)
                if fault is None:
                    return self.act(act, match, authorization, body)
                if fault.do and not fault.after:
                    fault.do()
                true = (
                    self.act(act, match, authorization, body)
                    if fault.after or fault.status == 0
                    else None
                )
                if fault.do and fault.after:
                    fault.do()
                return fault.answer(true)
        self.requests.append(("unknown", method, path, authorization))
        return Answer(404, {"error": f"no route for {method} {path}"})

    def act(
        self,
        act: Callable[..., Answer],
        match: re.Match[str],
        authorization: str | None,
        body: bytes,
    ) -> Answer:
        arguments: dict[str, Any] = {
            key: unquote(value) for key, value in match.groupdict().items() if value
        }
        if authorization != "Bearer dummy" and act != self.put:
            return Answer(401, {"error": "no token"})
        if "repo" in arguments and arguments["repo"] not in self.repos:
            return Answer(404, {"error": "no such repo"}, {"X-Error-Code": "RepoNotFound"})
        if "repo" in arguments:
            arguments["repo"] = self.repos[arguments["repo"]]
        if act not in (self.info, self.tree, self.resolve, self.xet):
            ndjson = act in (self.commit, self.put)
            arguments["body"] = body if ndjson else json.loads(body)
        return act(**arguments)

    def fault(self, route: str) -> Fault | None:
        for fault in self.faults:
            if fault.route == route and fault.times > 0:
                fault.times -= 1
                fault.met += 1
                return fault
        return None

    def create(self, body: dict[str, Any]) -> Answer:
        name = f"{body['organization']}/{body['name']}"
        answer = {"url": f"{self.url}/{name}", "name": name}
        if name in self.repos:
            return Answer(409, {"error": "You already created this model repo", **answer})
        self.repos[name] = Repo(private=body.get("visibility") == "private")
        self.repos[name].commit(
            "initial commit", {".gitattributes": plain(b"*.safetensors filter=lfs\n")}
        )
        return Answer(body=answer)

    def preupload(self, repo: Repo, body: dict[str, Any]) -> Answer:
        files = []
        for file in body["files"]:
            there = repo.tree.get(file["path"])
            oid = there and (there.sha256 if there.lfs else there.blob_id)
            mode = "lfs" if file["path"].endswith(".safetensors") else "regular"
            files.append(
                {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}
            )
        return Answer(body={"files": files, "commitOid": repo.commits[-1].oid})

    def batch(self, repo: Repo, body: dict[str, Any]) -> Answer:
        def actions(oid: str) -> dict[str, Any]:
            known = {"href": f"{self.url}/lfs/{oid}"}, {"href": f"{self.url}/lfs/verify"}
            return (
                {} if oid in self.objects else {"actions": {"upload": known[0], "verify": known[1]}}
            )

        objects = [
            {"oid": o["oid"], "size": o["size"], **actions(o["oid"])} for o in body["objects"]
        ]
        return Answer(body={"transfer": "basic", "objects": objects})

    def put(self, oid: str, body: bytes) -> Answer:
        if hashlib.sha256(body).hexdigest() != oid:
            return Answer(400, {"error": "the content has another hash"})
        self.objects[oid] = body
        return Answer()

    def xet(self, repo: Repo) -> Answer:
        if self.xet_url is None:
            return Answer(404, {"error": "no Xet here"})
        url, expiry = self.xet_url, 4102444800
        headers = {
            "X-Xet-Cas-Url": url,
            "X-Xet-Access-Token": "xet",
            "X-Xet-Token-Expiration": str(expiry),
        }
        return Answer(body={"casUrl": url, "accessToken": "xet", "exp": expiry}, headers=headers)

    def commit(self, repo: Repo, body: bytes) -> Answer:
        lines = [json.loads(line) for line in body.splitlines()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        if header.get("parentCommit") not in (None, repo.commits[-1].oid):
            return Answer(412, {"error": "the parent is not the head"})
        tree = dict(repo.tree)
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                tree[value["path"]] = plain(base64.b64decode(value["content"]))
            elif line["key"] == "lfsFile":
                content = self.objects.get(value["oid"], self.xet_objects.get(value["oid"]))
                if content is None:
                    return Answer(400, {"error": "the large file was never uploaded"})
                tree[value["path"]] = Blob(content, True, value["oid"], value["size"])
            elif line["key"] == "deletedFile":
                del tree[value["path"]]
        head = repo.commit(header["summary"], tree)
        url = f"{self.url}/{self.name(repo)}/commit/{head.oid}"
        return Answer(body={"success": True, "commitOid": head.oid, "commitUrl": url})

    def name(self, repo: Repo) -> str:
        return next(name for name, known in self.repos.items() if known is repo)

    def at(self, repo: Repo, revision: str | None) -> Commit | None:
        return next((c for c in reversed(repo.commits) if revision in (None, "main", c.oid)), None)

    def info(self, repo: Repo, revision: str | None = None) -> Answer:
        commit = self.at(repo, revision)
        if commit is None:
            return Answer(404, {"error": "no such revision"}, {"X-Error-Code": "RevisionNotFound"})
        siblings = [{"rfilename": path, **_entry(blob)} for path, blob in commit.tree.items()]
        about = {"id": self.name(repo), "sha": commit.oid, "private": repo.private}
        return Answer(body={**about, "siblings": siblings, "tags": []})

    def tree(self, repo: Repo) -> Answer:
        rows = [
            {"type": "file", "path": path, "oid": b.blob_id, **_entry(b)}
            for path, b in repo.tree.items()
        ]
        return Answer(body=rows)

    def resolve(self, repo: Repo, revision: str, name: str) -> Answer:
        commit = self.at(repo, revision)
        blob = commit.tree.get(name) if commit else None
        if commit is None or blob is None:
            return Answer(404, {"error": "no such file"}, {"X-Error-Code": "EntryNotFound"})
        etag = blob.sha256 if blob.lfs else blob.blob_id
        return Answer(body=blob.content, headers={"ETag": f'"{etag}"', "X-Repo-Commit": commit.oid})


def _entry(blob: Blob) -> dict[str, Any]:
    lfs = {"sha256": blob.sha256, "oid": blob.sha256, "size": blob.size, "pointerSize": 130}
    return {"size": blob.size, "blobId": blob.blob_id, **({"lfs": lfs} if blob.lfs else {})}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        answer = self.hub.answer(self.command, path, self.headers.get("Authorization"), body)
        if answer is None:
            self.close_connection = True
            self.connection.close()
            return
        time.sleep(answer.late)
        content = (
            answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        )
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if answer.cut else content)
        self.close_connection = self.close_connection or answer.cut

    do_GET = do_POST = do_PUT = do_HEAD = serve

    def log_message(self, *args: object) -> None:
        pass
