"""Methods of peft by their configuration files, which anybody may have written."""

import json

import pytest
import torch

from kdbench.api.spec import parse_spec
from kdbench.errors import UsageError
from kdbench.models.artifacts import Adapter

LOHA = {"peft_type": "LOHA", "r": 2, "alpha": 4, "target_modules": ["query"], "peft_version": "0.1"}


@pytest.fixture
def bench_for(make_bench, tmp_path):
    def make(content, params=""):
        path = tmp_path / "adapter_config.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return make_bench(f'peft[config="{path}"{params}]')

    return make


def test_a_file_of_pefts_own_is_the_method_it_was_saved_from(make_bench, bench_for, tmp_path):
    lora, bench = make_bench("lora[r=3,alpha=6,lora_dropout=0.0]")
    Adapter.of(lora.adapt(bench.base(), bench)).save(tmp_path)
    strategy, at = bench_for((tmp_path / "adapter_config.json").read_text())
    ours, theirs = strategy.fit(at), lora.fit(bench)
    deployed, expected = strategy.finalize(ours, at), lora.finalize(theirs, bench)
    assert deployed.state_dict().keys() == expected.state_dict().keys()
    for name, weight in expected.state_dict().items():
        torch.testing.assert_close(deployed.state_dict()[name], weight, msg=name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1, 2]", "is no JSON object; name a file as peft saves it"),
        ("{", "is no JSON; name a file as peft saves it"),
        ("[" * 40_000, "is no JSON; name a file as peft saves it"),
        (" " * 70_000, "has 70,000 bytes, more than the limit of 65,536"),
        ({"r": 8}, "peft_type is None; set one of ADALORA, "),
        ({"peft_type": ["LORA"]}, r"peft_type is \['LORA'\]; set one of ADALORA, "),
        ({**LOHA, "rank": 3}, "the installed peft knows no setting 'rank' of LOHA; remove it"),
        ({**LOHA, "r": -1}, "peft cannot adapt BertForSequenceClassification so: .*positive"),
        ({**LOHA, "target_modules": ["valeu"]}, "peft cannot adapt BertForSequenceClassification so: "),
        ({"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 3}, "adapts no layers.*see prefix-tuning"),
        ({"peft_type": "XLORA", "adapters": {"0": "x/y"}}, "loads other adapters"),
    ],
)
def test_what_is_no_configuration_is_an_error_in_one_line(bench_for, content, said):
    strategy, bench = bench_for(content)
    with pytest.raises(UsageError, match=said) as error:
        strategy.fit(bench)
    assert "\n" not in str(error.value)


def test_no_module_that_a_file_names_is_imported(bench_for, tmp_path, monkeypatch):
    (tmp_path / "strange.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    content = {"peft_type": "LORA", "r": 2, "target_modules": ["query"], "megatron_core": "strange"}
    strategy, bench = bench_for(
        {**content, "megatron_config": {"x": 1}, "auto_mapping": {"parent_library": "strange"}}
    )
    assert strategy.adapt(bench.base(), bench).peft_config["default"].r == 2


def test_it_runs_only_where_it_is_named(registry, bench_for):
    assert "peft" not in {spec.name for spec in registry.match_strategies(["*"])}
    assert registry.match_strategies(["peft[config=x]"]) == [parse_spec("peft[config=x]")]
    assert "lora" in {spec.name for spec in registry.match_strategies(["*"])}
    _, bench = bench_for(LOHA)
    strategy = registry.strategy(parse_spec("peft"))
    with pytest.raises(UsageError, match="needs a file"):
        strategy.fit(bench)
