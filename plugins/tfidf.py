"""Fit logistic regression on TF-IDF vectors: what a model without pretraining reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from kdbench_plugins._fit_clock import FitClock
from pydantic import Field

from kdbench import Bench, Strategy, TaskKind, UntrainedParams, UsageError

if TYPE_CHECKING:
    from torch import nn


class Tfidf(Strategy):
    """Fit logistic regression on a text's word pieces and pairs of neighbouring ones, weighted by TF-IDF.

    Zhang et al. 2015, section 3.1, where it beats networks trained from scratch on the smaller data sets. Counts enter as
    ``1 + log(count)``, and vectors have norm 1. The inverse penalty with the best validation score is chosen. The base
    model gives its tokenizer, and nothing else.
    """

    class Params(UntrainedParams):
        strengths: tuple[Annotated[float, Field(gt=0)], ...] = Field(
            (1.0, 3.0, 10.0, 30.0),
            min_length=1,
            description="inverse L2 penalties to try (C in scikit-learn)",
        )
        min_texts: int = Field(
            1, ge=1, description="use n-grams that occur in at least this many training texts"
        )

    name = "tfidf"
    title = "Logistic regression on TF-IDF"
    citation = (
        "Zhang et al. 2015, Character-level Convolutional Networks for Text Classification, arXiv:1509.01626"
    )
    family = "baseline"
    kinds = frozenset({TaskKind.SEQUENCE_CLASSIFICATION})
    params: Params

    def fit(self, bench: Bench) -> nn.Module:
        """Return the fitted model.

        Raises:
            UsageError: no n-gram occurs in `min_texts` texts, or all training examples have the same label.
        """
        import numpy as np
        import torch
        from kdbench_plugins._probe_fits import check_labels, weights_of_all_classes
        from kdbench_plugins._tfidf_model import TfidfModel, n_grams
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        clock = FitClock()
        train, validation, labels = bench.task.train, bench.task.validation, bench.task.task.labels
        special, vocabulary = bench.tokenizer.all_special_ids, len(bench.tokenizer)
        vectorizer = TfidfVectorizer(
            analyzer=lambda pieces: n_grams(pieces, special, vocabulary),
            min_df=self.params.min_texts,
            sublinear_tf=True,
            dtype=np.float32,
        )
        targets = np.asarray(train["labels"][:])
        check_labels(self.name, bench.task.task, targets)
        try:
            vectors = vectorizer.fit_transform(train["input_ids"][:])
        except ValueError:
            raise UsageError(
                f"strategy 'tfidf': nothing occurs in {self.params.min_texts} training texts; lower min_texts"
            ) from None
        held_out = vectorizer.transform(validation["input_ids"][:])
        references = [np.asarray([label]) for label in validation["labels"][:]]
        fits = []
        for strength in self.params.strengths:
            fitted = LogisticRegression(C=strength, max_iter=1000).fit(vectors, targets)
            weights, bias = (part.astype(np.float32) for part in weights_of_all_classes(fitted, len(labels)))
            logits = [row[None] for row in held_out @ weights.T + bias]
            fits.append((bench.score(validation, logits, references), weights, bias))
        score, weights, bias = max(fits, key=lambda fit: fit[0])

        terms = vectorizer.get_feature_names_out()
        model = TfidfModel(vocabulary, special, len(terms), len(labels))
        model.terms.copy_(torch.tensor(terms.astype(np.int64)))
        for parameter, values in (
            (model.inverse_frequency, vectorizer.idf_),
            (model.weight, weights.T),
            (model.bias, bias),
        ):
            parameter.data.copy_(torch.from_numpy(np.ascontiguousarray(values)))
        clock.count(bench, train, score)
        return model
