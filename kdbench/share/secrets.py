"""Remove credentials and addresses from text: by the patterns of detect-secrets, and by a few of what it lacks."""

from __future__ import annotations

import os
import re
from functools import cache
from ipaddress import ip_address

from detect_secrets.plugins.aws import AWSKeyDetector
from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
from detect_secrets.plugins.discord import DiscordBotTokenDetector
from detect_secrets.plugins.github_token import GitHubTokenDetector
from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
from detect_secrets.plugins.keyword import DENYLIST
from detect_secrets.plugins.mailchimp import MailchimpDetector
from detect_secrets.plugins.sendgrid import SendGridDetector
from detect_secrets.plugins.slack import SlackDetector
from detect_secrets.plugins.square_oauth import SquareOAuthDetector
from detect_secrets.plugins.stripe import StripeDetector
from detect_secrets.plugins.telegram_token import TelegramBotTokenDetector
from detect_secrets.plugins.twilio import TwilioKeyDetector

REDACTED = "<redacted>"
ADDRESS = "<address>"

_DETECTORS = (
    AWSKeyDetector,
    AzureStorageKeyDetector,
    DiscordBotTokenDetector,
    GitHubTokenDetector,
    GitLabTokenDetector,
    MailchimpDetector,
    SendGridDetector,
    SlackDetector,
    SquareOAuthDetector,
    StripeDetector,
    TelegramBotTokenDetector,
    TwilioKeyDetector,
)
"""Those whose patterns take time linear in the text and name a provider's format: a hash in hexadecimal is no secret."""

# Up to the last @: a password may contain one. All repetitions are bounded: a text may be long.
_IN_URL = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]{0,30}://)[^/\s\"'<>]{0,1000}@", re.IGNORECASE)
# A user name in an ssh URL is not a secret: ssh has no passwords in URLs.
_SSH_USER = re.compile(r"(?:ssh|git\+ssh)://[^:/\s@]*@", re.IGNORECASE)
_KEY_BLOCK = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)", re.DOTALL
)
_TOKEN = re.compile(
    r"\b(?:hf_|gh[opsur]_|github_pat_|glpat-|npm_|pypi-|xox[abeoprs]-)[A-Za-z0-9_-]{10,}"
    r"|\b(?:sk|rk|pk)-[A-Za-z0-9_-]{20,}"  # OpenAI's and others'
    r"|\beyJ[A-Za-z0-9_=-]{8,}\.[A-Za-z0-9_=-]+(?:\.[A-Za-z0-9_=-]*)?"  # JSON web tokens
)
_BEARER = re.compile(r"(?P<before>\bBearer\s+|\bAuthorization\s*[:=]\s*\w+\s+)[\w.~+/=-]{8,}", re.IGNORECASE)
_NAMED = re.compile(
    rf"(?P<before>(?:{'|'.join(DENYLIST)}|access_?token|auth_?token)\w{{0,40}}[\"']?\s{{0,5}}[=:]\s{{0,5}}[\"']?)"
    r"[^\s\"'<>,;]{3,}",
    re.IGNORECASE,
)
_MAIL = re.compile(r"(?<![\w.+/:-])(?!git@)[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,20}\b")
_NUMBERS = re.compile(r"(?<![\w.:-])(?:\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)|[0-9A-Fa-f:.]{7,45}(?![\w:-]))")
_SECRET_NAME = re.compile(
    r"PASSW|SECRET|TOKEN|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|CREDENTIAL|_PWD$|_PASS$", re.IGNORECASE
)
_MIN_SECRET_LENGTH = 6


def redact(text: str, *secrets: str) -> str:
    """Return `text` without credentials of known kinds, mail and network addresses, and `secrets`.

    A URL loses its user and password; of ``password=…`` and ``Bearer …`` the value goes.
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, REDACTED)
    text = _KEY_BLOCK.sub(REDACTED, text)
    text = _IN_URL.sub(_without_user, text)
    for pattern in _providers_patterns():
        text = pattern.sub(REDACTED, text)
    text = _TOKEN.sub(REDACTED, text)
    for pattern in (_BEARER, _NAMED):
        text = pattern.sub(rf"\g<before>{REDACTED}", text)
    return _NUMBERS.sub(_without_address, _MAIL.sub(ADDRESS, text))


def secrets_of_environment() -> tuple[str, ...]:
    """Return the values of the environment variables that are named like secrets, the longest first."""
    values = {
        value
        for name, value in os.environ.items()
        if _SECRET_NAME.search(name) and len(value) >= _MIN_SECRET_LENGTH
    }
    return tuple(sorted(values, key=lambda value: (-len(value), value)))


@cache
def _providers_patterns() -> tuple[re.Pattern[str], ...]:
    return tuple(pattern for detector in _DETECTORS for pattern in detector.denylist)


def _without_user(match: re.Match[str]) -> str:
    if _SSH_USER.fullmatch(match[0]) or match[0].endswith(f"//{REDACTED}@"):
        return match[0]
    return f"{match['scheme']}{REDACTED}@"


def _without_address(match: re.Match[str]) -> str:
    """Return the matched text, or its replacement where it is the address of a machine."""
    text = match[0].rstrip(".:")
    try:
        address = ip_address(text)
    except ValueError:
        return match[0]
    is_common = address.is_loopback or address.is_unspecified
    return match[0] if is_common else ADDRESS + match[0][len(text) :]
