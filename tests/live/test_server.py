import http.client
import socket

import pytest

from kdbench.errors import UsageError
from kdbench.live.server import DEFAULT_PORT, Answer, served


@pytest.fixture
def port():
    answers = {
        "/": Answer("text/html", lambda: b"<p>page</p>"),
        "/state.json": Answer("application/json", lambda: b"{}"),
    }
    with served(answers, 0) as address:
        assert address.startswith("http://127.0.0.1:")
        yield int(address.rstrip("/").rpartition(":")[2])


def ask(port, method="GET", path="/", host="localhost", body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    if host is not None:
        connection.putheader("Host", host)
    if body is not None:
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def test_pages_are_read_and_head_has_the_same_headers_without_the_page(port):
    answer, content = ask(port)
    assert (answer.status, content) == (200, b"<p>page</p>")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    head, nothing = ask(port, "HEAD")
    assert (head.status, nothing, head.headers["Content-Length"]) == (200, b"", "11")
    assert ask(port, path="/state.json?now")[1] == b"{}"


def test_no_other_page_may_frame_it_read_it_or_take_it_for_a_script(port):
    headers = ask(port, path="/state.json")[0].headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers
    assert headers["Server"] == "kdbench"


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get"]
)
def test_nothing_can_be_changed(port, method):
    answer, content = ask(port, method, body=b"x=1")
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD"
    assert content == b"405 Method Not Allowed\n"


@pytest.mark.parametrize(
    "path",
    [
        "/../../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/state.json/../live.json",
        "/live.json",
        "http://127.0.0.1/",
        "/<script>alert(1)</script>",
        "*",
    ],
)
def test_there_is_nothing_but_its_pages_and_a_refusal_repeats_nothing(port, path):
    answer, content = ask(port, path=path)
    assert (answer.status, content) == (404, b"404 Not Found\n")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1:1", "[::1]:8731", "LOCALHOST"])
def test_it_answers_under_the_names_of_this_machine_through_a_tunnels_port_too(port, host):
    assert ask(port, host=host)[0].status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "[", "", "192.168.0.7", None],
)
@pytest.mark.parametrize("path", ["/", "/state.json", "/nothing"])
def test_a_name_that_was_made_to_lead_here_is_refused(port, host, path):
    answer, content = ask(port, path=path, host=host)
    assert (answer.status, content) == (421, b"421 Misdirected Request\n")


def test_it_listens_on_the_loopback_address_alone(port):
    with socket.socket() as other:
        other.settimeout(5)
        # Were it listening on every address, this other one of the loopback device would answer.
        assert other.connect_ex(("127.0.0.2", port)) != 0


def test_who_sends_no_request_or_half_of_one_holds_up_nobody(port):
    with socket.create_connection(("127.0.0.1", port)) as silent:
        silent.sendall(b"GET / HT")
        assert ask(port)[0].status == 200


def test_a_port_that_is_taken_is_an_error_where_it_was_asked_for_and_else_the_next_is_taken(port):
    taken = rf"port {port} is not available .*; name another with --port"
    with pytest.raises(UsageError, match=taken), served({}, port):
        pass
    with served({}, None) as first, served({}, None) as second:
        ports = [int(address.rstrip("/").rpartition(":")[2]) for address in (first, second)]
    assert DEFAULT_PORT <= ports[0] < ports[1]


def test_the_port_is_free_again_when_it_ends():
    with served({}, 0) as address:
        port = int(address.rstrip("/").rpartition(":")[2])
        assert ask(port)[0].status == 404
    with served({}, port):
        pass
