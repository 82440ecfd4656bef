import math
from collections.abc import Callable

import pytest
import torch
from helpers.training import KINDS
from torch import Tensor
from torch.nn import functional

from kdbench.api.bench import model_inputs
from kdbench.api.kind import LabelWeighting
from kdbench.api.losses import (
    angle_loss,
    cosine_loss,
    decoupled_loss,
    distance_loss,
    patient_loss,
    several_labels_loss,
    soft_target_loss,
    task_loss,
    weighted_class_loss,
)
from kdbench.api.task import IGNORED, UNLABELLED, TaskKind
from kdbench.errors import UsageError
from kdbench.models.build import load_base

Relation = Callable[[Tensor, Tensor], Tensor]


def logits_of(*probabilities: float) -> Tensor:
    return torch.tensor([probabilities], dtype=torch.float32).log()


def test_divergence_equals_the_sum_done_by_hand() -> None:
    loss = soft_target_loss(
        logits_of(0.8, 0.2), logits_of(0.9, 0.1), labels=torch.tensor([0]), temperature=1.0
    )
    assert loss.item() == pytest.approx(0.9 * math.log(0.9 / 0.8) + 0.1 * math.log(0.1 / 0.2), abs=1e-6)
    assert loss.item() == pytest.approx(0.03669, abs=5e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 8.0])
def test_divergence_is_the_soft_cross_entropy_less_the_teachers_entropy(temperature: float) -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(6, 5), 3 * torch.randn(6, 5)
    soft = (teacher / temperature).softmax(-1)
    entropy = -(soft * soft.log()).sum(-1).mean()
    expected = temperature**2 * (functional.cross_entropy(student / temperature, soft) - entropy)
    loss = soft_target_loss(student, teacher, torch.zeros(6, dtype=torch.long), temperature=temperature)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-5)


def gradient(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    student = student.clone().requires_grad_()
    soft_target_loss(
        student, teacher, torch.zeros(len(student), dtype=torch.long), temperature=temperature
    ).backward()
    assert student.grad is not None
    return student.grad


def test_gradient_at_high_temperature_is_the_difference_of_logits_by_the_number_of_classes() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(1, 7), torch.randn(1, 7)
    student, teacher = student - student.mean(), teacher - teacher.mean()
    torch.testing.assert_close(
        gradient(student, teacher, temperature=1000.0), (student - teacher) / 7, rtol=0, atol=1e-3
    )


def test_gradient_keeps_its_size_when_the_temperature_changes() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(32, 4), torch.randn(32, 4)
    norms = [gradient(student, teacher, temperature).norm().item() for temperature in (1.0, 4.0, 16.0)]
    assert max(norms) < 2 * min(norms)  # without the factor they would be 256 times apart


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_a_student_that_answers_as_its_teacher_has_no_soft_loss(temperature: float) -> None:
    logits = torch.randn(3, 6, 5)
    labels = torch.zeros(3, 6, dtype=torch.long)
    assert soft_target_loss(logits, logits, labels, temperature=temperature).item() == 0
    values = torch.randn(3, 1)
    assert soft_target_loss(values, values, torch.zeros(3), temperature=temperature).item() == 0


def test_regression_is_the_mean_squared_error() -> None:
    answers, labels = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([1.0, 0.0, 1.0])
    assert task_loss(answers, labels).item() == pytest.approx((0 + 4 + 9) / 3)
    teacher = torch.tensor([[0.0], [2.0], [2.0]])
    assert soft_target_loss(answers, teacher, labels, temperature=3.0).item() == pytest.approx(
        (1 + 0 + 4) / 3
    )


def test_hard_loss_of_even_odds_is_the_logarithm_of_the_number_of_classes() -> None:
    assert task_loss(torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])).item() == pytest.approx(math.log(3))
    tags = torch.tensor([[0, 2, IGNORED], [1, IGNORED, IGNORED]])
    assert task_loss(torch.zeros(2, 3, 3), tags).item() == pytest.approx(math.log(3))


def test_what_stands_at_positions_that_do_not_count_changes_nothing() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 5, 3), torch.randn(2, 5, 3)
    labels = torch.tensor([[IGNORED, 0, 2, IGNORED, IGNORED], [IGNORED, 1, IGNORED, 1, 0]])
    noisy_student, noisy_teacher = student.clone(), teacher.clone()
    noisy_student[labels == IGNORED] = 1e4
    noisy_teacher[labels == IGNORED] = -1e4
    torch.testing.assert_close(task_loss(noisy_student, labels), task_loss(student, labels))
    torch.testing.assert_close(
        soft_target_loss(noisy_student, noisy_teacher, labels, temperature=2.0),
        soft_target_loss(student, teacher, labels, temperature=2.0),
    )


def test_soft_loss_is_a_mean_over_counted_positions_not_over_sentences() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    labels = torch.tensor([[0, 1, 2, 0], [1, IGNORED, IGNORED, IGNORED]])
    counted = labels != IGNORED
    flat = soft_target_loss(student[counted], teacher[counted], labels[counted], temperature=2.0)
    torch.testing.assert_close(soft_target_loss(student, teacher, labels, temperature=2.0), flat)


def test_soft_loss_of_a_batch_in_which_nothing_counts_is_zero() -> None:
    labels = torch.full((2, 3), IGNORED)
    assert soft_target_loss(torch.randn(2, 3, 4), torch.randn(2, 3, 4), labels, temperature=2.0).item() == 0


def test_what_is_not_labelled_counts_for_the_teacher_alone() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(3, 2), torch.randn(3, 2)
    labels = torch.tensor([1, UNLABELLED, UNLABELLED])
    assert torch.equal(task_loss(student, labels), task_loss(student[:1], labels[:1]))
    assert task_loss(student[1:], labels[1:]).item() == 0
    known = torch.tensor([1, 0, 1])
    soft = [soft_target_loss(student, teacher, targets, temperature=2.0) for targets in (labels, known)]
    assert torch.equal(*soft)
    values, wanted = torch.tensor([[1.0], [5.0]]), torch.tensor([[3.0], [4.0]])
    half = torch.tensor([2.0, math.nan])
    assert task_loss(values, half).item() == 1
    assert soft_target_loss(values, wanted, half, temperature=1.0).item() == pytest.approx((4 + 1) / 2)


def test_cosine_loss_is_one_less_the_cosine() -> None:
    student = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [1.0, 0.0], [3.0, 0.0]]])
    teacher = torch.tensor([[[5.0, 0.0], [0.0, 1.0], [-2.0, 0.0], [4.0, 3.0]]])
    apart = [0.0, 1.0, 2.0, 1 - 4 / 5]  # the same way, at a right angle, the other way, 3-4-5
    for i, expected in enumerate(apart):
        alone = torch.zeros(1, 4)
        alone[0, i] = 1
        assert cosine_loss(student, teacher, alone).item() == pytest.approx(expected, abs=1e-6)
    assert cosine_loss(student, teacher, torch.ones(1, 4)).item() == pytest.approx(sum(apart) / 4, abs=1e-6)


def test_patient_loss_equals_the_mean_square_done_by_hand() -> None:
    # Scaled to length one the states are (3/5, 4/5) and (0, 1), then (1, 0) and (0, -1).
    student = [torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[7.0, 0.0]]])]
    teacher = [torch.tensor([[[0.0, 2.0]]]), torch.tensor([[[0.0, -1.0]]])]
    squares = (0.6**2 + 0.2**2) + (1 + 1)
    loss = patient_loss(student, teacher, torch.ones(1, 1))
    assert loss.item() == pytest.approx(squares / (2 * 2), abs=1e-6)  # two layers, two numbers each


def test_patient_loss_of_one_layer_follows_from_the_cosine() -> None:
    torch.manual_seed(0)
    student, teacher, counted = torch.randn(3, 5, 8), torch.randn(3, 5, 8), torch.ones(3, 5)
    # |a/|a| - b/|b||^2 = 2 - 2 cos(a, b)
    expected = 2 * cosine_loss(student, teacher, counted) / 8
    torch.testing.assert_close(patient_loss([student], [teacher], counted), expected)


def test_matching_losses_do_not_follow_from_lengths_and_vanish_where_states_are_the_same() -> None:
    torch.manual_seed(0)
    states, other, counted = torch.randn(2, 4, 8), torch.randn(2, 4, 8), torch.ones(2, 4)
    for loss in (cosine_loss, lambda mine, wanted, mask: patient_loss([mine], [wanted], mask)):
        assert loss(states, states, counted).item() == pytest.approx(0, abs=1e-6)
        assert loss(states, 100 * states, counted).item() == pytest.approx(0, abs=1e-6)
        assert loss(states, other, counted).item() > 0.01
        torch.testing.assert_close(loss(states, 9 * other, counted), loss(states, other, counted))


@pytest.mark.parametrize("task", KINDS)
def test_losses_of_a_padded_batch_equal_those_of_its_rows_one_by_one(task, make_experiment, tiny_model):
    experiment = make_experiment(task)
    labels = experiment.task.task.labels
    student = load_base(tiny_model, experiment.kind, labels, seed=1).eval()
    teacher = load_base(tiny_model, experiment.kind, labels, seed=2).eval()
    rows = [experiment.task.train[i] for i in range(12)]
    assert len({len(row["input_ids"]) for row in rows}) > 1  # so that there is padding

    @torch.no_grad()
    def losses(rows: list[dict]) -> tuple[Tensor, int]:
        batch = experiment.collate(rows)
        answers, targets = student(**model_inputs(batch)).logits, teacher(**model_inputs(batch)).logits
        soft = soft_target_loss(answers, targets, batch["labels"], temperature=2.0)
        hard = task_loss(answers, batch["labels"])
        return torch.stack([soft, hard]), int((batch["labels"] != IGNORED).sum())

    whole, count = losses(rows)
    parts = [losses([row]) for row in rows]
    assert count == sum(weight for _, weight in parts)
    alone = torch.stack([loss * weight for loss, weight in parts]).sum(0) / count
    torch.testing.assert_close(whole, alone, rtol=1e-4, atol=1e-7)


def test_matching_losses_of_a_padded_batch_equal_those_of_its_rows_one_by_one(make_experiment, tiny_model):
    experiment = make_experiment()
    labels = experiment.task.task.labels
    student = load_base(tiny_model, experiment.kind, labels, seed=1).eval()
    teacher = load_base(tiny_model, experiment.kind, labels, seed=2).eval()
    with torch.no_grad():
        for weight in teacher.parameters():  # the seed makes another head alone
            weight += 0.02 * torch.randn_like(weight)
    rows = [experiment.task.train[i] for i in range(12)]

    @torch.no_grad()
    def losses(rows: list[dict]) -> tuple[Tensor, Tensor]:
        batch = experiment.collate(rows)
        inputs, mask = model_inputs(batch), batch["attention_mask"]
        mine, theirs = (
            model(**inputs, output_hidden_states=True).hidden_states for model in (student, teacher)
        )
        first = patient_loss(
            [mine[1][:, :1], mine[2][:, :1]], [theirs[2][:, :1], theirs[3][:, :1]], mask[:, :1]
        )
        every = [cosine_loss(mine[-1], theirs[-1], mask), patient_loss(mine[1:3], theirs[2:4], mask)]
        return torch.stack([*every, first]), torch.tensor([mask.sum(), mask.sum(), len(rows)])

    whole, counts = losses(rows)
    parts = [losses([row]) for row in rows]
    assert counts[0] < 12 * max(len(row["input_ids"]) for row in rows)  # so that there is padding
    alone = torch.stack([loss * weights for loss, weights in parts]).sum(0) / counts
    assert (whole > 1e-4).all()
    torch.testing.assert_close(whole, alone, rtol=1e-4, atol=1e-7)


WEIGHTS = (0.5, 1.0, 3.0)


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_weighted_class_loss_is_torchs_cross_entropy_without_focus(weights: tuple[float, ...] | None) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(4, 5, 3), torch.randint(3, (4, 5))
    labels[0, 0], labels[1, 1] = IGNORED, UNLABELLED
    expected = functional.cross_entropy(
        logits[labels >= 0], labels[labels >= 0], None if weights is None else torch.tensor(weights)
    )
    torch.testing.assert_close(weighted_class_loss(logits, labels, weights=weights, gamma=0.0), expected)


def test_focal_loss_by_hand() -> None:
    logits, labels = torch.cat([logits_of(0.9, 0.1), logits_of(0.4, 0.6)]), torch.tensor([0, 0])
    expected = (0.1**2 * -math.log(0.9) + 0.6**2 * -math.log(0.4)) / 2
    assert weighted_class_loss(logits, labels, weights=None, gamma=2.0).item() == pytest.approx(expected)
    certain = torch.tensor([[50.0, 0.0]], requires_grad=True)
    weighted_class_loss(certain, torch.tensor([0]), weights=None, gamma=0.5).backward()  # type: ignore[no-untyped-call]
    assert certain.grad is not None
    assert certain.grad.isfinite().all()


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_the_loss_of_several_labels_is_torchs_with_weights_of_positives(
    weights: tuple[float, ...] | None,
) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 3), torch.randint(2, (6, 3))
    expected = functional.binary_cross_entropy_with_logits(
        logits, labels.float(), pos_weight=None if weights is None else torch.tensor(weights)
    )
    torch.testing.assert_close(several_labels_loss(logits, labels, weights=weights), expected)
    hidden = torch.full_like(labels, UNLABELLED)
    both = several_labels_loss(logits.repeat(2, 1), torch.cat([labels, hidden]), weights=weights)
    torch.testing.assert_close(both, expected)
    assert several_labels_loss(logits, hidden).item() == 0.0


def test_the_focal_loss_of_several_labels_by_hand() -> None:
    logits = torch.tensor([[math.log(4), -math.log(4)]])  # probabilities 0.8 and 0.2
    expected = (0.2**2 * -math.log(0.8) + 0.8**2 * -math.log(0.2)) / 2
    loss = several_labels_loss(logits, torch.tensor([[1, 1]]), gamma=2.0)
    assert loss.item() == pytest.approx(expected)


def test_binary_divergence_equals_the_sum_done_by_hand() -> None:
    kind = TaskKind.MULTI_LABEL_CLASSIFICATION
    student, teacher = logits_of(0.8, 0.5), logits_of(0.9, 0.5)
    student, teacher = (side - torch.log(1 - side.exp()) for side in (student, teacher))
    loss = kind.soft_target_loss(student, teacher, torch.zeros(1, 2), temperature=1.0)
    divergence = 0.9 * math.log(0.9 / 0.8) + 0.1 * math.log(0.1 / 0.2)
    assert loss.item() == pytest.approx(divergence / 2, abs=1e-6)
    assert kind.soft_target_loss(
        student, student, torch.zeros(1, 2), temperature=3.0
    ).item() == pytest.approx(0)


def test_balanced_weights_are_scikit_learns_and_a_regression_has_none() -> None:
    counts = {"no": 6, "yes": 2}
    classes, several = TaskKind.SEQUENCE_CLASSIFICATION, TaskKind.MULTI_LABEL_CLASSIFICATION
    assert classes.balanced_weights(counts, 8) == (8 / (2 * 6), 8 / (2 * 2))
    assert several.balanced_weights(counts, 8) == (2 / 6, 6 / 2)
    weighted = classes.weighing(LabelWeighting((1.0, 3.0), 0.0))
    logits, labels = torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([0, 1])
    expected = functional.cross_entropy(logits, labels, torch.tensor([1.0, 3.0]))
    torch.testing.assert_close(weighted.label_loss(logits, labels), expected)
    assert weighted == classes
    with pytest.raises(UsageError, match="no effect on a sequence-regression task"):
        TaskKind.SEQUENCE_REGRESSION.weighing(LabelWeighting(None, 2.0))


def test_the_decoupled_loss_equals_the_sums_done_by_hand() -> None:
    student, teacher, labels = logits_of(0.5, 0.3, 0.2), logits_of(0.7, 0.2, 0.1), torch.tensor([0])
    of_target = 0.7 * math.log(0.7 / 0.5) + 0.3 * math.log(0.3 / 0.5)
    of_others = 2 / 3 * math.log((2 / 3) / 0.6) + 1 / 3 * math.log((1 / 3) / 0.4)
    loss = decoupled_loss(student, teacher, labels, temperature=1.0, alpha=2.0, beta=3.0)
    assert loss.item() == pytest.approx(2 * of_target + 3 * of_others, abs=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_weighted_by_the_teachers_other_classes_the_decoupled_loss_is_the_divergence(
    temperature: float,
) -> None:
    torch.manual_seed(0)
    student, teacher, labels = torch.randn(1, 5), 3 * torch.randn(1, 5), torch.tensor([3])
    others = 1 - (teacher / temperature).softmax(-1)[0, 3].item()
    decoupled = decoupled_loss(student, teacher, labels, temperature=temperature, alpha=1.0, beta=others)
    expected = soft_target_loss(student, teacher, labels, temperature=temperature)
    torch.testing.assert_close(decoupled, expected, rtol=1e-4, atol=1e-6)


def test_the_decoupled_loss_counts_labelled_words_alone() -> None:
    torch.manual_seed(0)
    student, teacher = torch.randn(2, 3, 4, requires_grad=True), torch.randn(2, 3, 4)
    labels = torch.tensor([[2, IGNORED, 1], [UNLABELLED, 3, IGNORED]])
    settings = {"temperature": 2.0, "alpha": 1.0, "beta": 8.0}
    loss = decoupled_loss(student, teacher, labels, **settings)
    single = [
        decoupled_loss(
            student[row, word][None], teacher[row, word][None], labels[row, word][None], **settings
        )
        for row, word in ((0, 0), (0, 2), (1, 1))
    ]
    torch.testing.assert_close(loss, torch.stack(single).mean())
    loss.backward()
    assert student.grad is not None
    assert student.grad.abs().sum(-1).gt(0).tolist() == [[True, False, True], [False, True, False]]


def test_distances_between_texts_equal_the_sum_done_by_hand() -> None:
    student = torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])  # 5, 10 and 5 apart, relative to 20/3
    teacher = torch.tensor([[0.0], [1.0], [1.0]])  # 1, 1 and 0 apart, relative to 1
    halves = 0.5 * (0.25**2 + 0.5**2 + 0.75**2)
    assert distance_loss(student, teacher).item() == pytest.approx(2 * halves / 9, abs=1e-6)


def test_angles_of_three_texts_equal_the_sum_done_by_hand() -> None:
    student = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # cosines 0, and twice the root of a half
    teacher = torch.tensor([[0.0], [1.0], [2.0]])  # cosines 1, -1 and 1
    root = math.sqrt(0.5)
    expected = 0.5 * 1 + (root + 1 - 0.5) + 0.5 * (1 - root) ** 2
    assert angle_loss(student, teacher).item() == pytest.approx(2 * expected / 27, abs=1e-6)


@pytest.mark.parametrize("relation", [distance_loss, angle_loss])
def test_relations_know_no_size_and_no_direction_and_bear_equal_texts(relation: Relation) -> None:
    torch.manual_seed(0)
    teacher = torch.randn(6, 4)
    turned = torch.linalg.qr(torch.randn(4, 4))[0]
    assert relation(5 * teacher @ turned + 2, teacher).item() == pytest.approx(0, abs=1e-6)
    for texts in (torch.zeros(3, 4), torch.randn(1, 4), teacher[[0, 0, 1]]):
        student = texts.clone().requires_grad_()
        relation(student, teacher[: len(texts)]).backward()
        assert student.grad is not None
        assert student.grad.isfinite().all()
