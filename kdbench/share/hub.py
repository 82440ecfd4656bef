"""Upload a site to the Hugging Face hub: the data as a data set, the board as a static Space."""

from __future__ import annotations

import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from kdbench.errors import KdbenchError, UsageError
from kdbench.share.secrets import redact

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from kdbench.share.site import Site

_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_HOW_TO_LOG_IN = "log in with 'hf auth login', or set HF_TOKEN to a token with write permission"
_REFUSALS = {
    401: f"it does not know the token (401); {_HOW_TO_LOG_IN}",
    403: "the token may not write there (403); use one with write permission, or another name",
    404: "there is no such place, or the token may not see it (404); correct --hub ORG/NAME",
    429: "too many requests (429); wait some minutes and run the same command again",
}
KINDS = {"dataset": "data set", "space": "static Space"}
"""The titles of a site's repositories, by repository type of the hub."""
_EXCLUDED: dict[str, list[str]] = {"dataset": [], "space": ["predictions/*"]}
"""Files that are not uploaded, by repository type: the board's pages do not use predictions."""
_FRONT_MATTER = {
    "dataset": "configs:\n- config_name: records\n  data_files: records.jsonl\ntags:\n- kdbench\n- benchmark\n",
    "space": "title: kdbench\nsdk: static\napp_file: index.html\n",
}
"""Metadata of each repository's card, which the board's overview follows."""


def parse_hub_name(text: str) -> str:
    """Return the name of a repository on the hub.

    Raises:
        UsageError: it does not have the form ``ORG/NAME``.
    """
    if not _NAME.fullmatch(text):
        raise UsageError(f"--hub {text!r} is not a name on the hub; write it as ORG/NAME")
    return text


def hub_api(endpoint: str | None = None) -> HfApi:
    """Return a client of the hub with the token of `hf auth login` or HF_TOKEN; HF_ENDPOINT is the default `endpoint`.

    Raises:
        UsageError: there is no token.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    token = get_token()
    if token is None:
        raise UsageError(f"--hub needs a token of the hub, but there is none; {_HOW_TO_LOG_IN}")
    return HfApi(endpoint=endpoint, token=token, library_name="kdbench")


def hub_files(site: Site, kind: str) -> list[str]:
    """Return the files of `site` that are uploaded to a repository of this type."""
    return [name for name in site.files if not any(fnmatch(name, pattern) for pattern in _EXCLUDED[kind])]


def publish_to_hub(site: Site, name: str, api: HfApi) -> list[str]:
    """Upload `site` as the data set and the Space `name`, and return their addresses.

    Each then contains only this site; earlier ones stay in its history.

    Raises:
        KdbenchError: the hub refuses, or cannot be reached.
    """
    addresses = []
    for kind, title in KINDS.items():
        with _hub_errors(f"the {title} {name}", api):
            _upload(api, name, kind, site)
        addresses.append(f"{api.endpoint}/{kind}s/{name}")
    return addresses


def _upload(api: HfApi, name: str, kind: str, site: Site) -> None:
    api.create_repo(name, repo_type=kind, exist_ok=True, space_sdk="static" if kind == "space" else None)
    with tempfile.TemporaryDirectory(prefix="kdbench-") as scratch, warnings.catch_warnings():
        # The client warns of Parquet files in a Space, which the pages link to on purpose.
        warnings.simplefilter("ignore", UserWarning)
        folder = Path(shutil.copytree(site.folder, scratch, dirs_exist_ok=True))
        card = folder / "README.md"
        card.write_bytes(f"---\n{_FRONT_MATTER[kind]}---\n\n".encode() + card.read_bytes())
        api.upload_folder(
            repo_id=name,
            folder_path=folder,
            repo_type=kind,
            commit_message="Publish the board",
            ignore_patterns=list(_EXCLUDED[kind]),
            delete_patterns="*",
        )


@contextmanager
def _hub_errors(target: str, api: HfApi) -> Iterator[None]:
    """Convert every error of the hub or its client to a `KdbenchError`."""
    from huggingface_hub.errors import HfHubHTTPError

    secret = api.token if isinstance(api.token, str) else ""
    try:
        yield
    except HfHubHTTPError as error:
        raise KdbenchError(f"the hub refused {target}: {_status_text(error.response.status_code)}") from None
    except KdbenchError:
        raise
    except Exception as error:  # of the client, its transport or hf_xet, or ValueError
        lines = redact(str(error), secret).strip().splitlines() or [type(error).__name__]
        raise KdbenchError(
            f"cannot upload {target} to {api.endpoint}: {lines[0]}; check the network and run the same command again"
        ) from None


def _status_text(status: int) -> str:
    if status >= 500:
        return f"it has a server error ({status}); run the same command again later"
    answered = f"it answered {status}; run the same command again, or look at its status page"
    return _REFUSALS.get(status, answered)
