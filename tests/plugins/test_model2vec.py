"""Static embeddings, compared with those of the authors' library."""

import numpy as np
import pytest
import torch
from helpers.training import no_report
from kdbench_plugins._static_model import StaticModel
from kdbench_plugins.model2vec import Model2Vec, counted_pieces, zipf_weights

from kdbench import model_inputs
from kdbench.models.artifacts import load_artifact, save_artifact
from kdbench.models.cost import count_parameters, count_trainable
from kdbench.models.onnx import OnnxModel
from kdbench.training.bench import TrainingBench


@pytest.fixture
def bench_of(make_experiment):
    def make(task="toy-sentiment", **params):
        strategy = Model2Vec(Model2Vec.Params(**params))
        return strategy, TrainingBench(make_experiment(task), strategy, 0, no_report)

    return make


def test_weights_are_smooth_inverse_frequencies_by_zipfs_law():
    # 1/2, 1/3 and 1/4 are 6, 4 and 3 thirteenths of their sum.
    expected = [0.1 / (0.1 + share / 13) for share in (6, 4, 3)]
    np.testing.assert_allclose(zipf_weights(3, 0.1), expected)


def test_a_text_is_the_sum_of_its_vectors_at_norm_1():
    model = StaticModel(vocabulary=4, width=2, outputs=2)
    model.embeddings.weight.data = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 2.0], [9.0, 9.0]])
    model.classifier.load_state_dict({"weight": torch.eye(2), "bias": torch.zeros(2)})
    ids, mask = torch.tensor([[1, 2, 2, 3], [0, 0, 0, 0]]), torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    torch.testing.assert_close(model(ids, mask).logits, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_texts_have_the_embeddings_of_the_authors_library(bench_of):
    from model2vec.distill import distill_from_model
    from transformers import AutoModel

    strategy, bench = bench_of(dimensions=12, sif=0.01)
    model = strategy.distil(bench)
    folder = bench.experiment.base.path
    theirs = distill_from_model(
        AutoModel.from_pretrained(folder),
        bench.tokenizer,
        device="cpu",
        pca_dims=12,
        sif_coefficient=0.01,
        quantize_to="float32",
    )
    texts = ["anna was good", "bad new york xx", "paris"]
    model.classifier = torch.nn.Identity()
    batch = bench.tokenizer(texts, padding=True, return_tensors="pt")
    ours = model(batch["input_ids"], batch["attention_mask"]).logits
    # Their principal components may point the other way.
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs.encode(texts)), atol=1e-4)
    assert counted_pieces(bench.tokenizer).tolist() == [0, 1, *range(5, len(bench.tokenizer))]


@pytest.mark.parametrize("task", ["toy-sentiment", "toy-score"])
def test_the_layer_alone_is_fitted_and_saved_it_answers_the_same(bench_of, task, tmp_path):
    strategy, bench = bench_of(task, dimensions=8)
    model = strategy.fit(bench)
    assert count_trainable(model) == 9 * model.classifier.out_features
    assert count_parameters(model) == 8 * len(bench.tokenizer) + count_trainable(model)
    (run,) = bench.runs
    assert (run.steps, run.examples) == (0, len(bench.task.train))
    assert run.best_score == pytest.approx(bench.validation_score(model), abs=1e-6)
    save_artifact(model, bench.tokenizer, tmp_path / "saved")
    inputs = model_inputs(bench.collate([bench.task.scored[row] for row in range(9)]))
    assert torch.equal(load_artifact(tmp_path / "saved")(**inputs).logits, model(**inputs).logits)


@pytest.mark.slow
def test_in_onnx_it_answers_the_same():
    torch.manual_seed(0)
    model = StaticModel(vocabulary=30, width=4, outputs=3)
    ids, mask = torch.randint(30, (3, 7)), torch.ones(3, 7, dtype=torch.long)
    mask[1:, 4:] = 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    torch.testing.assert_close(OnnxModel.of(model, inputs)(**inputs).logits, model(**inputs).logits)
