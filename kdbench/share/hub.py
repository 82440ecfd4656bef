"""A site on the Hugging Face hub: the data as a data set, the board as a static Space."""

from __future__ import annotations

import re
import shutil
import tempfile
import warnings
from collections.abc import Callable
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.errors import KdbenchError, UsageError
from kdbench.share.privacy import redact

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from kdbench.share.site import Site

_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_HOW_TO_LOG_IN = "log in by 'hf auth login', or set HF_TOKEN to a token with write permission"
KINDS = {"dataset": "data set", "space": "static Space"}
"""The repositories of a site, by the hub's names for them."""
_LEFT_OUT: dict[str, list[str]] = {"dataset": [], "space": ["predictions/*"]}
"""What a reader of the board does not open."""
_FRONT_MATTER = {
    "dataset": "configs:\n- config_name: records\n  data_files: records.jsonl\ntags:\n- kdbench\n- benchmark\n",
    "space": "title: kdbench\nsdk: static\napp_file: index.html\n",
}
"""What the card of each begins with, before the board's overview."""


def parse_hub_name(text: str) -> str:
    """Return the name of a repository on the hub.

    Raises:
        UsageError: it has another shape than ``ORG/NAME``.
    """
    if not _NAME.fullmatch(text):
        raise UsageError(f"--hub {text!r} is no name on the hub; write it as ORG/NAME")
    return text


def hub_api(endpoint: str | None = None) -> HfApi:
    """Return the hub's client with the token that its own login or HF_TOKEN left.

    Args:
        endpoint: by default the hub that huggingface_hub itself is set up for (HF_ENDPOINT).

    Raises:
        UsageError: there is no token.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    token = get_token()
    if token is None:
        raise UsageError(f"--hub needs a token of the hub, and there is none; {_HOW_TO_LOG_IN}")
    return HfApi(endpoint=endpoint, token=token, library_name="kdbench")


def hub_files(site: Site, kind: str) -> list[str]:
    """List the files of `site` that a repository of this kind gets."""
    return [name for name in site.files if not any(fnmatch(name, pattern) for pattern in _LEFT_OUT[kind])]


def publish_to_hub(site: Site, name: str, api: HfApi) -> list[str]:
    """Upload `site` as the data set and the Space `name`, and return their addresses.

    Either then holds the site and nothing else; earlier ones stay in its history.

    Raises:
        KdbenchError: the hub refuses, or cannot be reached.
    """
    addresses = []
    for kind, title in KINDS.items():
        _asked(f"the {title} {name}", api, partial(_upload, api, name, kind, site))
        addresses.append(f"{api.endpoint}/{kind}s/{name}")
    return addresses


def _upload(api: HfApi, name: str, kind: str, site: Site) -> None:
    api.create_repo(name, repo_type=kind, exist_ok=True, space_sdk="static" if kind == "space" else None)
    with tempfile.TemporaryDirectory(prefix="kdbench-") as scratch, warnings.catch_warnings():
        # A Space with Parquet files, which its pages link to, looks to the client like a mistake.
        warnings.simplefilter("ignore", UserWarning)
        folder = Path(shutil.copytree(site.folder, scratch, dirs_exist_ok=True))
        card = folder / "README.md"
        card.write_bytes(f"---\n{_FRONT_MATTER[kind]}---\n\n".encode() + card.read_bytes())
        api.upload_folder(
            repo_id=name,
            folder_path=folder,
            repo_type=kind,
            commit_message="Publish the board",
            ignore_patterns=list(_LEFT_OUT[kind]),
            delete_patterns="*",
        )


def _asked(what: str, api: HfApi, ask: Callable[[], object]) -> None:
    """Do what `ask` does; whatever the hub answers instead is told in one line."""
    from huggingface_hub.errors import HfHubHTTPError

    secret = api.token if isinstance(api.token, str) else ""
    try:
        ask()
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise KdbenchError(f"the hub refused {what}: {_told(status)}") from None
    except KdbenchError:
        raise
    except Exception as error:  # the client raises its own, its transport's, hf_xet's and ValueError
        lines = redact(str(error), secret).strip().splitlines() or [type(error).__name__]
        raise KdbenchError(
            f"cannot upload {what} to {api.endpoint}: {lines[0]}; look after the network and run the same command again"
        ) from None


def _told(status: int) -> str:
    match status:
        case 401:
            return f"it does not know the token (401); {_HOW_TO_LOG_IN}"
        case 403:
            return (
                "the token may not write there (403); take one with write permission, or a name of your own"
            )
        case 404:
            return "there is no such place, or the token may not see it (404); correct --hub ORG/NAME"
        case 429:
            return "it was asked too often (429); wait some minutes and run the same command again"
        case _ if status >= 500:
            return f"it has trouble of its own ({status}); run the same command again later"
    return f"it answered {status}; run the same command again, or look at its status page"
