"""A model that reads padding as if it were text."""

from transformers import BertForSequenceClassification


class Unmasked(BertForSequenceClassification):
    def forward(self, attention_mask=None, **inputs):
        return super().forward(**inputs)
