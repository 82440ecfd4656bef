"""A site is uploaded by huggingface_hub itself to a small hub on loopback."""

import pytest
from helpers.hub_server import serving

from kdbench.errors import KdbenchError, UsageError
from kdbench.share.hub import hub_api, parse_hub_name, publish_to_hub
from kdbench.share.site import Site

TOKEN = "hf_nobodyshouldeverseethis"


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    # hf_xet speaks a protocol of its own to a store of its own; without it large files go the documented LFS way.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    with serving(TOKEN) as served:
        yield served


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site" / "predictions").mkdir(parents=True)
    (tmp_path / "site" / "README.md").write_text("# Board\n")
    (tmp_path / "site" / "index.html").write_text("<h1>Board</h1>\n")
    (tmp_path / "site" / "records.jsonl").write_text("{}\n")
    (tmp_path / "site" / "predictions" / "a.safetensors").write_bytes(bytes(range(256)))
    return Site(tmp_path / "site", 1, ())


def test_data_and_board_arrive_whole(hub, site):
    addresses = publish_to_hub(site, "lab/board", hub_api(hub.address))
    assert addresses == [f"{hub.address}/datasets/lab/board", f"{hub.address}/spaces/lab/board"]
    assert hub.created == [("dataset", "lab/board", None), ("space", "lab/board", "static")]
    data, space = hub.repositories["dataset", "lab/board"], hub.repositories["space", "lab/board"]
    assert data["predictions/a.safetensors"] == bytes(range(256))
    assert data["records.jsonl"] == b"{}\n"
    assert data["README.md"].startswith(b"---\nconfigs:\n")
    assert space["README.md"].startswith(b"---\ntitle: kdbench\nsdk: static\n")
    assert space["README.md"].endswith(b"# Board\n")
    assert set(space) == {".gitattributes", "README.md", "index.html", "records.jsonl"}


def test_a_later_site_takes_the_place_of_the_earlier(hub, site):
    publish_to_hub(site, "lab/board", hub_api(hub.address))
    (site.folder / "predictions" / "a.safetensors").rename(site.folder / "predictions" / "b.safetensors")
    publish_to_hub(site, "lab/board", hub_api(hub.address))
    files = hub.repositories["dataset", "lab/board"]
    assert {"predictions/b.safetensors", ".gitattributes"} <= set(files)
    assert "predictions/a.safetensors" not in files
    assert len(hub.created) == 2
    assert len(hub.commits) == 4


@pytest.mark.parametrize(
    ("place", "status", "told"),
    [
        ("/api/repos/create", 401, "does not know the token (401); log in with 'hf auth login'"),
        ("/api/repos/create", 403, "the token may not write there (403)"),
        ("/api/repos/create", 500, "it has a server error (500); run the same command again later"),
        ("/api/datasets/lab/board/tree", 404, "no such place, or the token may not see it (404)"),
        ("/api/repos/create", 429, "too many requests (429); wait some minutes"),
        ("/api/repos/create", 418, "it answered 418; run the same command again"),
        ("/api/datasets/lab/board/commit", 403, "the token may not write there (403)"),
        ("/api/spaces/lab/board/commit", 503, "it has a server error (503)"),
    ],
)
def test_what_the_hub_refuses_is_told_in_one_line_without_the_token(hub, site, place, status, told):
    hub.answers[place] = status
    with pytest.raises(KdbenchError) as caught:
        publish_to_hub(site, "lab/board", hub_api(hub.address))
    message = str(caught.value)
    assert told in message
    assert "\n" not in message
    assert TOKEN not in message
    assert message.startswith(
        f"the hub refused the {'static Space' if 'spaces' in place else 'data set'} lab/board: "
    )


def test_a_hub_that_is_not_there_is_told_in_one_line(hub, site):
    with pytest.raises(
        KdbenchError, match=r"cannot upload the data set lab/board to http://127\.0\.0\.1:9:"
    ) as caught:
        publish_to_hub(site, "lab/board", hub_api("http://127.0.0.1:9"))
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_without_a_token_one_is_told_how_to_log_in(monkeypatch, tmp_path):
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="log in with 'hf auth login', or set HF_TOKEN"):
        hub_api()


@pytest.mark.parametrize("name", ["board", "a/b/c", "/b", "a/", "https://hub/a/b"])
def test_what_is_no_name_on_the_hub_is_a_user_s_mistake(name):
    with pytest.raises(UsageError, match="write it as ORG/NAME"):
        parse_hub_name(name)
