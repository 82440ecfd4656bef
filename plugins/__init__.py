"""Register the built-in strategies through the same hooks as any other plugin."""

from kdbench_plugins.adalora import AdaLoRA
from kdbench_plugins.adapters import AdapterHoulsby, AdapterPfeiffer
from kdbench_plugins.bilstm import BiLSTM, BiLSTMKD
from kdbench_plugins.bitfit import BitFit
from kdbench_plugins.distilbert import DistilBERT
from kdbench_plugins.dkd import DKD
from kdbench_plugins.drop_layers import DropLayers
from kdbench_plugins.finetune import FineTune
from kdbench_plugins.half_precision import BF16, FP16
from kdbench_plugins.hard_labels import HardLabels
from kdbench_plugins.ia3 import IA3
from kdbench_plugins.int8 import Int8
from kdbench_plugins.linear_probe import LinearProbe
from kdbench_plugins.lora import DoRA, LoRA, LoRAPlus, LoRAUnmerged, PiSSA, RsLoRA
from kdbench_plugins.minilm import MiniLM
from kdbench_plugins.model2vec import Model2Vec
from kdbench_plugins.multi_task import MultiTask, MultiTaskKD
from kdbench_plugins.peft_method import PeftMethod
from kdbench_plugins.pkd import PKD
from kdbench_plugins.prefix_tuning import PrefixTuning
from kdbench_plugins.prune_ffn import PruneFFN
from kdbench_plugins.prune_heads import PruneHeads
from kdbench_plugins.rkd import RKD
from kdbench_plugins.setfit import SetFit
from kdbench_plugins.tfidf import Tfidf
from kdbench_plugins.tinybert import TinyBERT
from kdbench_plugins.trim_vocab import TrimVocab
from kdbench_plugins.vanilla_kd import VanillaKD
from kdbench_plugins.vera import VeRA

from kdbench import Strategy, hookimpl


@hookimpl
def kdbench_model_classes() -> dict[str, str]:
    """Return the model classes that are not in transformers by their keys; the last four keys are those of version 0.1."""
    return {
        "adapter": "kdbench_plugins._adapter_model:AdapterModel",
        "bilstm": "kdbench_plugins._bilstm_model:BiLSTMModel",
        "mean-probe": "kdbench_plugins._probe_model:MeanProbe",
        "prefix": "kdbench_plugins._prefix_model:PrefixModel",
        "pruned": "kdbench_plugins._pruning:PrunedModel",
        "static": "kdbench_plugins._static_model:StaticModel",
        "unmerged": "kdbench_plugins._unmerged_model:UnmergedModel",
        "tfidf": "kdbench_plugins._tfidf_model:TfidfModel",
        "kdbench_plugins._adapters:AdapterModel": "kdbench_plugins._adapter_model:AdapterModel",
        "kdbench_plugins._bilstm:BiLSTM": "kdbench_plugins._bilstm_model:BiLSTMModel",
        "kdbench_plugins._prefix_model:PrefixModel": "kdbench_plugins._prefix_model:PrefixModel",
        "kdbench_plugins._pruned_model:PrunedModel": "kdbench_plugins._pruning:PrunedModel",
    }


@hookimpl
def kdbench_strategies() -> list[type[Strategy]]:
    """Return the built-in strategies, grouped by family; boards and lists keep this order."""
    return [
        Tfidf,
        Model2Vec,
        FineTune,
        SetFit,
        HardLabels,
        VanillaKD,
        DKD,
        RKD,
        DistilBERT,
        PKD,
        TinyBERT,
        MiniLM,
        BiLSTM,
        BiLSTMKD,
        LoRA,
        LoRAUnmerged,
        LoRAPlus,
        RsLoRA,
        DoRA,
        PiSSA,
        VeRA,
        AdaLoRA,
        IA3,
        PrefixTuning,
        BitFit,
        AdapterHoulsby,
        AdapterPfeiffer,
        LinearProbe,
        PeftMethod,
        MultiTask,
        MultiTaskKD,
        Int8,
        FP16,
        BF16,
        PruneHeads,
        PruneFFN,
        DropLayers,
        TrimVocab,
    ]
