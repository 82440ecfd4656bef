"""Credentials and addresses vanish from text, and nothing else does."""

import time

import pytest

from kdbench.share.privacy import Private
from kdbench.share.secrets import redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://alice:s3cret@host/x.git", "https://<redacted>@host/x.git"),
        ("fatal: 'https://s3cret@host/x/' not found", "fatal: 'https://<redacted>@host/x/' not found"),
        ("https://alice:pa@ss@host/x", "https://<redacted>@host/x"),
        ("HTTPS://a:b@h/x and http://c:d@e", "HTTPS://<redacted>@h/x and http://<redacted>@e"),
        ("ssh://git:pw@host/x", "ssh://<redacted>@host/x"),
        ("token hf_abcdefghijklmnop.", "token <redacted>."),
        ("ghp_0123456789abcdef", "<redacted>"),
        ("id AKIAIOSFODNN7EXAMPLE", "id <redacted>"),
        ("sk-proj-abcdefghijklmnop1234", "<redacted>"),
        ("xoxb-123456789012-abcdef", "<redacted>"),
        ("pypi-AgEIcHlwaS5vcmcCJDU", "<redacted>"),
        ("npm_abcdefghij0123456789", "<redacted>"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_1", "<redacted>"),
        ("Authorization: Bearer abcdef123456", "Authorization: Bearer <redacted>"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- end", "<redacted> end"),
        ("-----BEGIN OPENSSH PRIVATE KEY----- b3Blbn", "<redacted>"),
        ("password=hunter2 and db_password: 'hunter2'", "password=<redacted> and db_password: '<redacted>'"),
        ("bob.smith@example.org, at 10.1.2.3:8080", "<address>, at <address>:8080"),
        ("to fe80::1ff:fe23:4567:890a.", "to <address>."),
    ],
)
def test_a_credential_is_taken_out(text, shown):
    assert redact(text) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:org/name.git",
        "ssh://git@host/org/name",
        "https://host/a@b",
        "mail me@host",
        "hf_hub",
        "see https://arxiv.org/abs/1503.02531",
        "torch 2.13.0 at 127.0.0.1, 12:30:45, kdbench@0.2.0",
        "a bearer of news, a task-specific-and-long-word",
        "0123456789abcdef0123456789abcdef",
    ],
)
def test_what_is_no_secret_stays(text):
    assert redact(text) == text


def test_a_known_secret_is_taken_out_wherever_it_stands():
    assert redact("remote: bad password hunter2", "hunter2") == "remote: bad password <redacted>"


@pytest.mark.parametrize(
    "part",
    [
        "a.",
        "eyJ",
        "sk-",
        "//",
        "~a",
        "a@",
        "/a b",
        '"/',
        "1.2.",
        "aws key'",
        "-----BEGIN PRIVATE KEY",
        "password=",
    ],
)
def test_a_long_text_takes_no_longer_than_its_length_asks_for(part):
    text = (part * 64_000)[:64_000]
    private = Private(folders=("/home/alice",), users=("alice",))
    start = time.process_time()
    private.leak(private.scrub(text))
    assert time.process_time() - start < 2  # a quadratic pattern takes 30 s and more
