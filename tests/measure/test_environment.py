import getpass
import json
import os
import platform
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

import kdbench
from kdbench.measure.environment import (
    _git,
    _gpu,
    _nvidia_driver,
    describe_environment,
    emulated_types,
    peak_memory_bytes,
)


def test_it_names_processor_cores_memory_and_system():
    hardware = describe_environment().hardware
    assert hardware["cpu"]
    assert int(hardware["cores"]) == os.cpu_count()
    assert int(hardware["memory_gib"]) > 0
    assert hardware["system"] == platform.system()
    assert 1 <= int(hardware.get("physical_cores", 1)) <= os.cpu_count()


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="only Linux lists the processor's flags")
def test_its_flags_are_flags_of_the_processor():
    flags = Path("/proc/cpuinfo").read_text().split()
    assert set(describe_environment().hardware.get("cpu_flags", "").split()) <= set(flags)


def test_it_names_the_versions_that_numbers_depend_on():
    libraries = describe_environment().libraries
    for name in ("kdbench", "torch", "transformers", "onnxruntime", "peft", "numpy"):
        assert libraries[name] == version(name)
    assert libraries["python"] == platform.python_version()


def test_it_tells_nothing_of_who_ran_it_and_where():
    told = json.dumps(describe_environment().model_dump())
    private = {
        getpass.getuser(),
        socket.gethostname(),
        socket.getfqdn(),
        str(Path.home()),
        str(Path.cwd()),
        str(Path(kdbench.__file__).parent),
    }
    assert [text for text in private if len(text) > 2 and text in told] == []
    assert "/" not in told.replace("\\/", "")


def test_without_a_gpu_nothing_is_told_of_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert _gpu() == {}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_told_with_its_driver_and_cuda():
    told = _gpu()
    assert told["gpu"] == torch.cuda.get_device_name()
    assert told["cuda"] == torch.version.cuda
    assert int(told["gpu_memory_gib"]) > 0
    assert told["gpu_driver"][0].isdigit()


def test_the_drivers_version_is_what_its_tool_tells_or_absent(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _nvidia_driver() is None
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 550.54.15\necho 550.54.15\n")
    tool.chmod(0o755)
    assert _nvidia_driver() == "550.54.15"
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert _nvidia_driver() is None


def git(*arguments, cwd):
    done = subprocess.run(
        ["git", "-c", "user.name=A", "-c", "user.email=a@b.c", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_revision_and_changes_are_those_of_its_own_checkout(tmp_path):
    (tmp_path / "environment.py").write_text("")
    assert _git(tmp_path) == (None, None)
    git("init", "--quiet", cwd=tmp_path)
    assert _git(tmp_path) == (None, None)  # inside a checkout, but no part of it
    git("add", ".", cwd=tmp_path)
    git("commit", "--quiet", "-m", "first", cwd=tmp_path)
    (tmp_path / "untracked.txt").write_text("results and notes change no number")
    assert _git(tmp_path) == (git("rev-parse", "HEAD", cwd=tmp_path), False)
    (tmp_path / "environment.py").write_text("# changed\n")
    assert _git(tmp_path) == (git("rev-parse", "HEAD", cwd=tmp_path), True)


@pytest.mark.slow
def test_peak_memory_remembers_what_was_freed():
    assert told_by_a_process("import numpy; block = numpy.ones(50_000_000); del block") > 400e6


@pytest.mark.slow
def test_peak_memory_is_a_processs_own_not_its_parents():
    block = np.ones(100_000_000)
    assert told_by_a_process("pass") < block.nbytes < peak_memory_bytes()


def told_by_a_process(before):
    """Return the peak memory that a new process tells after it ran the statement `before`."""
    code = f"{before}\nfrom kdbench.measure.environment import peak_memory_bytes\nprint(peak_memory_bytes())"
    return int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)


@pytest.mark.parametrize(
    ("flags", "emulated"),
    [
        (("avx2", "fma"), ["bfloat16", "float16"]),
        (("avx512f", "avx512_bf16"), ["float16"]),
        (("amx_bf16", "avx512_fp16"), []),
        (("asimd", "bf16"), ["float16"]),
        ((), []),  # nothing is known
    ],
)
def test_a_type_is_emulated_where_the_processor_has_no_instructions_for_it(flags, emulated):
    assert emulated_types([torch.float32, torch.bfloat16, torch.float16, torch.int8], flags) == emulated
