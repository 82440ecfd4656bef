"""The model; apart from the plugin, so that listing strategies loads no torch."""

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class MeanPoolConfig(PretrainedConfig):
    model_type = "mean-pool"
    vocab_size: int = 30522
    hidden_size: int = 384


class MeanPoolModel(PreTrainedModel):
    config_class = MeanPoolConfig

    def __init__(self, config):
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @classmethod
    def from_base(cls, base):
        taken = {
            name: getattr(base.config, name) for name in ("vocab_size", "hidden_size", "id2label", "label2id")
        }
        model = cls(MeanPoolConfig(**taken))
        with torch.no_grad():
            model.embeddings.weight.copy_(base.get_input_embeddings().weight)
        return model

    def forward(self, input_ids, attention_mask, **_):
        counted = attention_mask.unsqueeze(-1)
        mean = (self.embeddings(input_ids) * counted).sum(1) / counted.sum(1).clamp(min=1)
        return SequenceClassifierOutput(logits=self.classifier(mean))
