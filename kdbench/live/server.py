"""Serve the live page, read-only and on this machine only."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

from kdbench.errors import UsageError
from kdbench.live.follow import Follow
from kdbench.render.html.content import no_content
from kdbench.render.html.page import LivePart, html_page
from kdbench.utils.system import start_thread

HOST = "127.0.0.1"
DEFAULT_PORT = 8731
_PORTS_TRIED = 20
_NAMES = ("localhost", "127.0.0.1", "::1")
"""Host names by which local or tunnelled browsers address the server; others indicate DNS rebinding."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True)
class Answer:
    """The response served under one path."""

    kind: str
    body: Callable[[], bytes]


@contextmanager
def served(answers: Mapping[str, Answer], port: int | None) -> Iterator[str]:
    """Serve `answers` by their paths from threads while the block runs, and yield the address.

    Args:
        answers: everything that is served; other paths are not found.
        port: 0 for any free port; None for the first free one from `DEFAULT_PORT` on.

    Raises:
        UsageError: the port, or every port that was tried, is taken.
    """
    with _listening(answers, port) as server:
        thread = start_thread("live page", lambda: server.serve_forever(poll_interval=0.2))
        try:
            yield f"http://{HOST}:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def _listening(answers: Mapping[str, Answer], port: int | None) -> _Server:
    tried = range(DEFAULT_PORT, DEFAULT_PORT + _PORTS_TRIED) if port is None else (port,)
    for number in tried:
        try:
            return _Server(answers, number)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            reason = error.strerror
    ports = f"port {port} is" if port is not None else f"ports {tried[0]} to {tried[-1]} are"
    raise UsageError(f"{ports} not available on {HOST} ({reason}); name another with --port")


class _Server(ThreadingHTTPServer):
    allow_reuse_port = False  # otherwise two servers would share the requests
    daemon_threads = True

    def __init__(self, answers: Mapping[str, Answer], port: int) -> None:
        self.answers = answers
        super().__init__((HOST, port), _Handler)

    def server_bind(self) -> None:
        """Bind without looking up this machine's name in DNS."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = HOST, int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: a browser disconnected during a response."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10
    """Seconds; for clients that connect and send no request."""

    def do_GET(self) -> None:
        """Send the response or an error; to HEAD without a body."""
        answer = self.server.answers.get(self.path.split("?")[0])
        if not self._is_known_host():
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST)
        elif answer is None:
            self.send_error(HTTPStatus.NOT_FOUND)
        else:
            self._send(HTTPStatus.OK, answer.kind, answer.body())

    do_HEAD = do_GET  # noqa: N815 - the base class's name

    def _is_known_host(self) -> bool:
        """Return whether the Host header names this machine, which DNS rebinding by a foreign page cannot fake."""
        try:
            return urlsplit(f"//{self.headers.get('Host', '')}").hostname in _NAMES
        except ValueError:
            return False

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Send an error as one plain line that repeats nothing of the request."""
        # The base class reports an unsupported method as 501; 405 is correct for it.
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        line = f"{status.value} {status.phrase}\n".encode()
        self.close_connection = True
        self._send(status, "text/plain", line)

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": f"{kind}; charset=utf-8"}.items():
            self.send_header(name, value)
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET, HEAD")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if getattr(self, "command", None) != "HEAD":  # a request that cannot be read has no command
            self.wfile.write(body)

    def version_string(self) -> str:
        """Return a name without versions."""
        return "kdbench"

    def log_message(self, *message: object) -> None:
        """Print nothing: the terminal belongs to the run."""


STATE = "/state.json"
CONTENT = "/content.json"


def live_answers(follow: Follow, cache: Path) -> Mapping[str, Answer]:
    """Return the responses of the live page's server by path; the page's libraries are cached in the folder `cache`.

    Raises:
        UsageError: the cache cannot be written.
    """
    paths = (files(__package__) / "web" / f"live.{ending}" for ending in ("html", "css", "js"))
    markup, style, script = (path.read_text(encoding="utf-8") for path in paths)
    # The board is fetched from `CONTENT`, so that the page is built once.
    page = html_page(no_content("Leaderboard"), cache, LivePart(markup, style, script)).encode()
    return {
        "/": Answer("text/html", lambda: page),
        STATE: Answer("application/json", follow.state),
        CONTENT: Answer("application/json", follow.content),
    }
