"""A small hub on loopback that speaks the endpoints which an upload uses, and keeps what it is sent."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import yaml


class Hub:
    """What the server has: repositories by type and name, each a mapping from path to bytes."""

    def __init__(self, token):
        self.token = token
        self.repositories = {}
        self.created = []
        self.commits = []
        self.stored = {}
        self.answers = {}
        """Status codes by the start of a path, answered in the place of anything else."""
        self.address = ""

    def answer(self, method, path, authorization, body):
        """Return status and JSON of one request."""
        for start, status in self.answers.items():
            if path.startswith(start):
                return status, {"error": f"as told, to {authorization}"}
        if (method, path[:5]) == ("PUT", "/lfs/"):
            assert hashlib.sha256(body).hexdigest() == path[5:]
            self.stored[path[5:]] = body
            return 200, {}
        if authorization != f"Bearer {self.token}":
            return 401, {"error": "Invalid username or password."}
        data = json.loads(body) if body and "/commit/" not in path else {}
        if path == "/api/repos/create":
            return self._create(data)
        if path == "/api/validate-yaml":
            return self._validate(data)
        found = re.fullmatch(
            r"/(?:api/)?(dataset|space)s/([^/]+/[^/]+?)(?:\.git/info/lfs/objects/(batch)|/(\w+)/main)", path
        )
        files = self.repositories.get(found.group(1, 2)) if found else None
        if files is None:
            return 404, {"error": "Repository not found"}
        return getattr(self, f"_{found[3] or found[4]}")(files, data, body, f"{found[1]}s/{found[2]}")

    def _create(self, data):
        name = (data["type"], f"{data['organization']}/{data['name']}")
        if name in self.repositories:
            return 409, {
                "error": "You already created this repo",
                "url": f"{self.address}/{name[0]}s/{name[1]}",
            }
        assert (data["type"] == "space") == ("sdk" in data)
        self.created.append((*name, data.get("sdk")))
        self.repositories[name] = {".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}
        return 200, {"url": f"{self.address}/{name[0]}s/{name[1]}"}

    def _validate(self, data):
        card = yaml.safe_load(data["content"].split("---\n")[1])
        wrong = data["repoType"] == "space" and card.get("sdk") != "static"
        return (400, {"errors": [{"message": "no sdk"}]}) if wrong else (200, {"errors": [], "warnings": []})

    def _tree(self, files, data, body, place):
        return 200, [{"type": "file", "path": path, "size": len(files[path]), "oid": "0"} for path in files]

    def _preupload(self, files, data, body, place):
        modes = {True: "lfs", False: "regular"}
        return 200, {
            "files": [
                {
                    "path": file["path"],
                    "uploadMode": modes[file["path"].endswith(".safetensors")],
                    "shouldIgnore": False,
                }
                for file in data["files"]
            ]
        }

    def _batch(self, files, data, body, place):
        return 200, {
            "transfer": "basic",
            "objects": [
                {**one, "actions": {"upload": {"href": f"{self.address}/lfs/{one['oid']}"}}}
                for one in data["objects"]
            ],
        }

    def _commit(self, files, data, body, place):
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.stored[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]
            else:
                self.commits.append(value["summary"])
        return 200, {"commitUrl": f"{self.address}/{place}/commit/{'1' * 40}", "commitOid": "1" * 40}


@contextmanager
def serving(token):
    """Serve a hub that knows one token."""
    hub = Hub(token)

    class Handler(BaseHTTPRequestHandler):
        def _serve(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0]
            status, data = hub.answer(self.command, path, self.headers.get("Authorization"), body)
            content = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = _serve  # noqa: N815

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
