"""`kdbench check` tells what is wrong in a table or as JSON, and by its exit code."""

import json

import pytest

from kdbench.plugins import import_plugin
from kdbench.testing.plain_import import import_without_torch
from kdbench.testing.report import Check, CheckError, NotApplicableError, Verdict

METRIC = '''"""A metric."""
import numpy as np
from kdbench import Metric, TaskKind, hookimpl


class Share(Metric):
    name = "share"
    kinds = frozenset({TaskKind.SEQUENCE_CLASSIFICATION})

    def unit_statistics(self, answers):
        right = answers.predicted == answers.references
        return np.column_stack([right, np.ones(len(right))]).astype(float)

    def score(self, totals):
        return FACTOR * super().score(totals)


@hookimpl
def kdbench_metrics():
    return [Share()]
'''


@pytest.fixture
def metric(tmp_path):
    def write(factor, more=""):
        path = tmp_path / "share.py"
        path.write_text(METRIC.replace("FACTOR", factor) + more, encoding="utf-8")
        return path

    return write


def test_a_verdict_is_what_the_check_raises_or_returns():
    def fine(subject):
        return "a remark"

    def wrong(subject):
        raise CheckError("do this")

    def beside_the_point(subject):
        raise NotApplicableError("no such thing")

    def crashing(subject):
        return subject["missing"]

    results = [Check(function)({}) for function in (fine, wrong, beside_the_point, crashing)]
    assert [(result.check, result.verdict) for result in results] == [
        ("fine", Verdict.PASSED),
        ("wrong", Verdict.FAILED),
        ("beside-the-point", Verdict.NOT_APPLICABLE),
        ("crashing", Verdict.FAILED),
    ]
    assert [result.reason for result in results[:3]] == ["a remark", "do this", "no such thing"]
    assert results[3].reason.startswith("KeyError: 'missing' (")


def test_a_sound_plugin_passes_and_every_check_is_in_the_table(call, metric):
    code, out, err = call("check", metric("1"))
    assert (code, err) == (0, "")
    assert "plugin" in out
    assert "metric share" in out
    assert "sums-by-example" in out
    assert "failed" not in out


def test_a_failure_is_told_with_its_reason_and_sets_the_exit_code(call, metric):
    code, out, _ = call("check", metric("3"), "--json")
    assert code == 1
    plugin, share = json.loads(out)
    assert plugin["results"] == [{"check": "is-registered", "verdict": "passed", "reason": ""}]
    (failure,) = [result for result in share["results"] if result["check"] == "stays-in-its-range"]
    assert failure["verdict"] == "failed"
    assert "set score_range" in failure["reason"]


def test_what_is_not_registered_is_a_failure_of_the_plugin(call, metric):
    path = metric("1", "\n\n@hookimpl\ndef kdbench_tasks():\n    return [Share]\n")
    code, out, _ = call("check", path, "--json")
    assert code == 1
    assert "is not a Task" in json.loads(out)[0]["results"][0]["reason"]


@pytest.mark.parametrize("name", ["accuracy", "token-classification"])
def test_one_part_is_named_by_its_name(call, name):
    code, out, _ = call("check", name, "--json")
    assert code == 0
    assert [report["subject"].partition(" ")[2] for report in json.loads(out)] == [name]


def test_an_unknown_name_and_a_missing_file_are_told_in_one_line(call, tmp_path):
    assert call("check", "lorra")[0::2] == (
        2,
        "kdbench: nothing is called 'lorra' (did you mean 'lora'?); name one of these, or the plugin's .py file\n",
    )
    code, out, _ = call("check", tmp_path / "missing.py", "--json")
    assert code == 1
    assert "there is no file" in json.loads(out)[0]["results"][0]["reason"]


def test_a_module_that_imports_torch_is_found(metric):
    for more, heavy in (("", False), ("\nimport torch\n", True)):
        path = metric("1", more)
        path = path.rename(path.with_stem(f"share_{heavy}"))
        part = import_plugin(str(path)).Share
        if heavy:
            with pytest.raises(CheckError, match="imports torch"):
                import_without_torch(part)
        else:
            import_without_torch(part)
