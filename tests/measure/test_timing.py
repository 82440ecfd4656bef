"""Timing models together, on a machine whose clock the models move."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers.training import no_report
from torch import nn
from transformers import BertTokenizerFast

from kdbench.budgets import BackEnd
from kdbench.measure.stopwatch import wall_clock
from kdbench.measure.timing import (
    GRID,
    MAIN,
    Candidate,
    Size,
    shared_memory,
    synthetic_batch,
    time_batches,
    time_together,
    vocabulary,
)

INPUTS = [
    {"input_ids": torch.full((1, length), length), "attention_mask": torch.ones(1, length, dtype=torch.long)}
    for length in (4, 9, 6)
]


class Machine:
    """A clock that models move, and a log of who answered what."""

    def __init__(self):
        self.now = 0.0
        self.calls = []

    def candidate(self, name, seconds, *, longest=None, breaks_above=None, slowing=0.0):
        return Candidate(
            model=Model(name, self, seconds, breaks_above, slowing),
            back_end=BackEnd.TORCH,
            device=torch.device("cpu"),
            inputs=INPUTS,
            vocabulary=range(5, 40),
            longest=longest,
            stopwatch=wall_clock(lambda: self.now),
            padded=lambda size: {name: value.repeat(size, 1) for name, value in INPUTS[0].items()},
        )


class Model(nn.Module):
    """Takes `seconds` for a word piece; with `slowing` the more, the longer the machine has run."""

    def __init__(self, name, machine, seconds, breaks_above, slowing):
        super().__init__()
        self.name, self.machine, self.seconds = name, machine, seconds
        self.breaks_above, self.slowing = breaks_above, slowing

    def forward(self, input_ids, attention_mask):
        if self.breaks_above is not None and input_ids.shape[1] > self.breaks_above:
            raise IndexError("index out of range")
        self.machine.calls.append((self.name, tuple(input_ids.shape)))
        self.machine.now += self.seconds * input_ids.numel() * (1 + self.slowing * len(self.machine.calls))
        return SimpleNamespace(logits=input_ids.float())


@pytest.fixture
def measure(tiny_budget):
    def together(candidates, gridded=(), **budget):
        return time_together(
            candidates,
            reference="teacher",
            budget=tiny_budget.model_copy(update=budget),
            gridded=gridded,
            report=no_report,
        )

    return together


def test_the_tasks_own_sentences_come_first_and_warming_up_is_not_among_the_calls(measure):
    machine = Machine()
    candidates = {"teacher": machine.candidate("teacher", 0.002), "a": machine.candidate("a", 0.0005)}
    found = measure(candidates, latency_rounds=24)
    assert found["a"].calls_ms == {MAIN: pytest.approx([2, 4.5, 3] * 8)}
    assert (found["a"].warm_up.calls, found["a"].warm_up.stable) == (20, True)
    # On the longest sentence, and on that of median length, again and again.
    assert machine.calls[:21] == [("teacher", (1, 9)), *[("teacher", (1, 6))] * 20]
    assert machine.calls[21:42] == [("a", (1, 9)), *[("a", (1, 6))] * 20]
    # Of a turn's calls one before the first does not count.
    assert len(machine.calls) == 2 * (21 + 8 * (1 + 3))


class Caches(nn.Module):
    """Answers in 1 ms right after its own call, and in 5 ms after another's."""

    def __init__(self, machine):
        super().__init__()
        self.machine = machine

    def forward(self, input_ids, attention_mask):
        self.machine.now += 0.001 if self.machine.calls[-1:] == [self] else 0.005
        self.machine.calls.append(self)


def test_short_calls_find_their_weights_in_the_caches_and_a_long_one_is_made_once(measure):
    machine = Machine()
    candidates = {
        name: replace(machine.candidate(name, 0), model=Caches(machine)) for name in ("teacher", "a", "b")
    }
    found = measure(candidates, gridded=list(candidates), latency_grid_seconds=1000)
    for measured in found.values():
        assert measured.calls_ms[MAIN] == pytest.approx([1] * len(measured.calls_ms[MAIN]))
        assert measured.calls_ms[Size(8, 32, 1)][0] == pytest.approx(1)
        assert measured.calls_ms[Size(8, 64, 1)][0] == pytest.approx(5)


def test_a_model_that_never_gets_steady_is_said_to_be_so(measure):
    machine = Machine()
    candidates = {
        "teacher": machine.candidate("teacher", 0.002),
        "a": machine.candidate("a", 0.0005, slowing=0.5),
    }
    found = measure(candidates)
    assert found["teacher"].warm_up.stable
    assert (found["a"].warm_up.calls, found["a"].warm_up.stable) == (60, False)


def test_speedups_hold_on_a_machine_that_slows_down(measure):
    machine = Machine()
    found = measure(
        {
            "teacher": machine.candidate("teacher", 0.006, slowing=0.05),
            "a": machine.candidate("a", 0.002, slowing=0.05),
        },
        latency_rounds=40,
    )
    teacher, own = (np.array(found[name].calls_ms[MAIN]) for name in ("teacher", "a"))
    assert own[-3:].mean() > 1.3 * own[:3].mean()
    assert np.median(teacher / own) == pytest.approx(3, rel=0.02)


def test_the_grid_has_every_size_and_each_call_in_a_round_of_all(measure):
    machine = Machine()
    candidates = {
        name: machine.candidate(name, seconds) for name, seconds in (("teacher", 3e-5), ("a", 1e-5))
    }
    found = measure(candidates, gridded=["a"], latency_grid_rounds=7, latency_grid_seconds=1000)
    for name, factor in (("teacher", 3), ("a", 1)):
        assert list(found[name].calls_ms) == [MAIN, *(Size(*size, 1) for size in GRID)]
        assert len(found[name].calls_ms[Size(8, 64, 1)]) == 7
        assert found[name].calls_ms[Size(32, 128, 1)] == pytest.approx([32 * 128 * 0.01 * factor] * 7)
    # One call warms a size up.
    assert machine.calls[-16:].count(("a", (32, 128))) == 8


def test_who_is_not_asked_for_is_not_timed_on_the_grid(measure):
    machine = Machine()
    candidates = {name: machine.candidate(name, 1e-5) for name in ("teacher", "a", "b")}
    found = measure(candidates, gridded=["a"], latency_grid_seconds=1000)
    assert {name: len(measured.calls_ms) for name, measured in found.items()} == {
        "teacher": 13,
        "a": 13,
        "b": 1,
    }


def test_what_costs_too_much_is_left_out_for_all_with_the_reason(measure):
    machine = Machine()
    # A word piece takes 1 ms: a size of n pieces, timed in full, 2 x 8 x n ms, and all up to 1,024 pieces 59.2 s.
    candidates = {name: machine.candidate(name, 1e-3) for name in ("teacher", "a")}
    found = measure(candidates, gridded=["a"], latency_grid_rounds=7, latency_grid_seconds=40)
    for name in candidates:
        reasons = found[name].reasons
        # Of 80 s the sizes before have left 20.8, and each first call takes 2 ms a word piece.
        assert reasons == {
            Size(32, 64, 1): "7 rounds would take 29 s, and the budget has 17 s left",
            Size(32, 128, 1): "7 rounds would take 57 s, and the budget has 9 s left",
        }
        assert not set(reasons) & set(found[name].calls_ms)


def test_lengths_that_a_model_cannot_read_are_left_out_for_it_alone(measure):
    machine = Machine()
    candidates = {
        "teacher": machine.candidate("teacher", 2e-5),
        "short": machine.candidate("short", 1e-5, longest=64),
        "broken": machine.candidate("broken", 1e-5, breaks_above=32),
        "free": machine.candidate("free", 1e-5),
    }
    found = measure(candidates, gridded=["short", "broken", "free"], latency_grid_seconds=1000)

    def reasons(name):
        return {size.length: reason for size, reason in found[name].reasons.items()}

    assert reasons("free") == {}
    assert reasons("short") == {128: "the model reads 64 word pieces at most"}
    told = "the model does not answer such a batch: IndexError: index out of range"
    assert reasons("broken") == {64: told, 128: told}
    assert len(found["free"].calls_ms) == 1 + len(GRID)


def test_where_the_teacher_has_no_time_nobody_is_timed(measure):
    machine = Machine()
    candidates = {
        "teacher": machine.candidate("teacher", 2e-5, longest=64),
        "a": machine.candidate("a", 1e-5),
    }
    found = measure(candidates, gridded=["a"], latency_grid_seconds=1000)
    assert {size.length: reason for size, reason in found["a"].reasons.items()} == {
        128: "the teacher has no time here: the model reads 64 word pieces at most"
    }


def test_batches_on_all_cores_are_of_the_tasks_own_sentences_and_one_call_warms_up(measure):
    machine = Machine()
    candidates = {name: machine.candidate(name, ms) for name, ms in (("teacher", 0.002), ("a", 0.001))}
    found = measure(candidates)
    machine.calls.clear()
    time_batches(candidates, threads=2, rounds=3, report=no_report, timed=found)
    assert found["a"].calls_ms[Size(8, None, 2)] == pytest.approx([8 * 4] * 3)
    assert found["teacher"].calls_ms[Size(32, None, 2)] == pytest.approx([32 * 4 * 2] * 3)
    assert machine.calls.count(("a", (32, 4))) == 2 * (1 + 3)  # each call follows one that does not count


def test_the_grid_goes_from_the_fewest_word_pieces_to_the_most():
    assert len(GRID) == 12
    assert GRID[0] == (1, 16)
    assert GRID[-1] == (32, 128)
    pieces = [size * length for size, length in GRID]
    assert pieces == sorted(pieces)


def test_a_batch_is_full_of_real_word_pieces():
    ids = [7, 11, 13, 40]
    batch = synthetic_batch(ids, ["input_ids", "attention_mask", "token_type_ids"], 8, 64)
    assert {name: (value.shape, value.dtype) for name, value in batch.items()} == dict.fromkeys(
        ["input_ids", "attention_mask", "token_type_ids"], (torch.Size([8, 64]), torch.int64)
    )
    assert set(batch["input_ids"].flatten().tolist()) == set(ids)
    assert batch["attention_mask"].all()
    assert not batch["token_type_ids"].any()
    assert len({tuple(row) for row in batch["input_ids"].tolist()}) == 8


def test_two_batches_of_a_size_are_the_same_and_have_what_a_model_reads():
    first, again = (synthetic_batch(range(50), ["input_ids", "attention_mask"], 4, 16) for _ in range(2))
    assert set(first) == {"input_ids", "attention_mask"}
    assert torch.equal(first["input_ids"], again["input_ids"])


def test_special_word_pieces_are_none_of_the_vocabulary(tiny_model):
    tokenizer = BertTokenizerFast.from_pretrained(tiny_model)
    ids = vocabulary(tokenizer)
    assert not {tokenizer.pad_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id} & set(ids)
    assert len(ids) == len(tokenizer) - 5


# Models that share a memory, and are themselves in their turns and afterwards.


class Tied(nn.Module):
    """An embedding table that is used twice, beside weights of another type."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(7, 3)
        self.out = nn.Linear(3, 7, bias=False)
        self.out.weight = self.table.weight
        self.scale = nn.Parameter(torch.rand(3).to(torch.bfloat16))

    def forward(self, ids):
        return self.out(self.table(ids) * self.scale.float())


@pytest.fixture
def models():
    torch.manual_seed(0)
    lstm = nn.LSTM(3, 5, bidirectional=True)
    return [(Tied(), torch.arange(7)), (lstm, torch.rand(4, 3)), (nn.Linear(9, 9), torch.rand(2, 9))]


@torch.no_grad()
def answers(model, given):
    answer = model(given)
    return answer if isinstance(answer, torch.Tensor) else answer[0]


def test_each_answers_in_its_turns_as_before_and_all_do_again_afterwards(models):
    before = [answers(*one) for one in models]
    with shared_memory(model for model, _ in models) as brings:
        for place in (0, 1, 2, 1, 0):
            brings[place]()
            assert torch.equal(answers(*models[place]), before[place])
        firsts = {next(model.parameters()).data_ptr() for model, _ in models}
        assert len(firsts) == 1
        assert not torch.equal(answers(*models[2]), before[2])  # it is not its turn
    assert [torch.equal(answers(*one), expected) for one, expected in zip(models, before, strict=True)] == [
        True
    ] * 3
    tied = models[0][0]
    assert tied.out.weight is tied.table.weight


def test_models_are_themselves_again_whatever_happens(models):
    before = [answers(*one) for one in models]
    with pytest.raises(KeyboardInterrupt), shared_memory(model for model, _ in models):
        raise KeyboardInterrupt
    assert [torch.equal(answers(*one), expected) for one, expected in zip(models, before, strict=True)] == [
        True
    ] * 3


def test_without_weights_there_is_nothing_to_bring():
    with shared_memory([nn.ReLU()]) as (bring,):
        bring()
    with shared_memory([]) as brings:
        assert brings == []


def test_a_model_that_does_not_answer_costs_the_others_nothing(measure):
    machine = Machine()
    candidates = {
        "teacher": machine.candidate("teacher", 0.002),
        "broken": machine.candidate("broken", 0.001, breaks_above=8),  # on its longest sentence
        "student": machine.candidate("student", 0.001),
    }
    found = measure(candidates)
    assert found["broken"].calls_ms == {}
    assert found["broken"].reasons == {MAIN: "the model does not answer: IndexError: index out of range"}
    assert found["student"].calls_ms[MAIN][0] == pytest.approx(found["teacher"].calls_ms[MAIN][0] / 2)
    time_batches(candidates, threads=1, rounds=1, report=no_report, timed=found)
    assert list(found["broken"].reasons) == [MAIN]
    broken = {"teacher": machine.candidate("teacher", 0.002, breaks_above=8)}
    with pytest.raises(IndexError):
        measure(broken)
