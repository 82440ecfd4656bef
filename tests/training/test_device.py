import os
import subprocess
import sys

import pytest
import torch

ASK = "import torch; from kdbench.training.device import has_fast_bf16; print(has_fast_bf16(torch.device('cpu')))"


@pytest.mark.skipif(
    not torch.cpu._is_avx512_bf16_supported(), reason="needs a processor that multiplies in bfloat16"
)
@pytest.mark.parametrize(("limit", "answer"), [({}, "True"), ({"ATEN_CPU_CAPABILITY": "avx2"}, "False")])
def test_a_process_limited_to_older_instructions_has_no_fast_bfloat16(limit, answer):
    ran = subprocess.run(
        [sys.executable, "-c", ASK], env={**os.environ, **limit}, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == answer
