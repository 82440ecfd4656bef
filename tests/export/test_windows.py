"""A loaded export reads long texts in the windows that they were scored in."""

import helpers.toy_plugin as toys
import numpy as np
import pytest
import torch
from helpers.manifests import make_manifest

from kdbench.export.model import ExportedModel
from kdbench.models.build import load_base
from kdbench.training.predict import predict

TASKS = {"toy-sentiment": toys.ToySentiment, "toy-tags": toys.ToyTags}


@pytest.mark.parametrize("name", TASKS)
def test_answers_are_those_of_scoring(make_experiment, tiny_budget, name):
    windows = {"max_length": 8, "window_stride": 2, "window_pooling": "max"}
    experiment = make_experiment(name, budget=tiny_budget.model_copy(update=windows))
    task, kind = TASKS[name](), experiment.kind
    model = load_base(experiment.base.path, kind, task.labels, seed=0).eval()
    predictions = predict(model, experiment.task.scored, experiment.collate, device=torch.device("cpu"))
    assert len(experiment.task.scored) > len(predictions)

    manifest = make_manifest(kind=kind, labels=task.labels, **windows)
    examples = [task.load(None)["test"][number] for number in predictions.ids]
    answers = ExportedModel(model, experiment.tokenizer, manifest, kind).predict(
        [example["words" if kind.per_word else "text"] for example in examples]
    )
    labels = np.array(task.labels)[predictions.predicted].tolist()
    if kind.per_word:
        assert [tag for answer in answers for tag in answer.tags] == labels
        assert predictions.references.tolist() == [
            task.labels.index(tag) for example in examples for tag in example["tags"]
        ]
    else:
        assert [answer.label for answer in answers] == labels
