"""Credentials vanish from text, and nothing else does."""

import pytest

from kdbench.share.privacy import holds_credentials, redact


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
    ],
)
def test_a_credential_is_taken_out(text, shown):
    assert redact(text) == shown
    assert holds_credentials(text)
    assert redact(shown) == shown
    assert not holds_credentials(shown)


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:org/name.git",
        "ssh://git@host/org/name",
        "https://host/a@b",
        "mail me@host",
        "hf_hub",
        "see https://arxiv.org/abs/1503.02531",
    ],
)
def test_what_is_no_secret_stays(text):
    assert redact(text) == text


def test_a_known_secret_is_taken_out_wherever_it_stands():
    assert redact("remote: bad password hunter2", "hunter2") == "remote: bad password <redacted>"
