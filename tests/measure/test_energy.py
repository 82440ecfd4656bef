"""Energy: counters of a folder that stands for Linux's powercap, which a thread advances."""

import itertools
import os
import threading
import time

import pytest
import torch
from helpers.training import no_report
from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from kdbench.budgets import BackEnd
from kdbench.measure.energy import Meter, Nvml, Rapl, counter_of
from kdbench.measure.stopwatch import WarmUp, wall_clock
from kdbench.measure.timing import Candidate, Size, Timed, measure_energy

RANGE = 262_143_328_850
"""Microjoules, as an Intel processor has them."""


def zone(folder, place, name, energy_uj, range_uj=RANGE):
    path = folder / place
    path.mkdir(parents=True)
    for file, value in (("name", name), ("energy_uj", energy_uj), ("max_energy_range_uj", range_uj)):
        (path / file).write_text(f"{value}\n")
    return path / "energy_uj"


def test_packages_are_added_up_without_their_domains_the_platform_and_second_interfaces(tmp_path):
    first = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 7_000_000)
    others = [
        zone(tmp_path, "intel-rapl:0:0", "core", 1),
        zone(tmp_path, "intel-rapl:0:1", "dram", 1),
        zone(tmp_path, "intel-rapl:2", "psys", 1),
        zone(tmp_path, "intel-rapl-mmio:0", "package-0", 5_000_000),
    ]
    counter = Rapl.find(tmp_path)
    assert counter.joules() == 0
    first.write_text("6500000\n")
    second.write_text("7250000\n")
    for other in others:
        other.write_text("99000000\n")
    assert counter.joules() == 1.75  # 1.5 J and 0.25 J
    assert counter.joules() == 1.75


def test_a_counter_that_begins_again_goes_on(tmp_path):
    file = zone(tmp_path, "intel-rapl:0", "package-0", RANGE - 2_000_000)
    counter = Rapl.find(tmp_path)
    file.write_text("3000000\n")  # 2 J to the end of the range, and 3 J from its beginning
    assert counter.joules() == 5
    file.write_text("1000000\n")  # once more around, less 2 J
    assert counter.joules() == pytest.approx(5 + RANGE / 1e6 - 2)


def test_a_machine_without_a_counter_or_without_the_permission_has_the_reason(tmp_path):
    zone(tmp_path, "intel-rapl:0", "psys", 1)
    assert Rapl.find(tmp_path).startswith(f"{tmp_path} has no counter of a processor package")
    assert Rapl.find(tmp_path / "absent").startswith(f"{tmp_path / 'absent'} has no counter")
    closed = zone(tmp_path, "intel-rapl:1", "package-0", 1)
    closed.chmod(0)
    if os.geteuid() == 0:  # whom no file's mode keeps out; a folder in its place cannot be read either
        closed.unlink()
        closed.mkdir()
        assert Rapl.find(tmp_path).startswith(f"the counters in {tmp_path} cannot be read: ")
    else:
        assert "may be read by root alone; run 'sudo chmod a+r " in Rapl.find(tmp_path)
    zone(tmp_path / "odd", "intel-rapl:0", "package-0", "a lot")
    assert Rapl.find(tmp_path / "odd").startswith(f"the counters in {tmp_path / 'odd'} cannot be read: ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_its_counter_is_absent_with_a_reason():
    assert isinstance(Nvml.find(torch.device("cuda")), str)
    assert counter_of(torch.device("mps")) == "a device of type mps has no counter that kdbench reads"


class Steady:
    """A counter of 20 watts by a clock of its own."""

    source = "RAPL"
    seconds = 1.0

    def __init__(self):
        self.now = 0.0

    def sleep(self, seconds):
        self.now += seconds

    def joules(self):
        return 20 * self.now


def test_a_measurement_lasts_as_long_as_the_counter_needs_and_idle_power_stands_beside_it():
    counter = Steady()
    meter = Meter(counter, clock=lambda: counter.now, sleep=counter.sleep)
    assert (meter.idle_w, counter.now) == (20, 1)

    def answer():
        counter.sleep(0.375)
        return 32

    drawn = meter.draw(answer)
    # The first call does not count; three take 1.125 s, which are 22.5 J for 96 examples.
    assert (drawn.joules, drawn.seconds, drawn.examples, drawn.idle_w) == (22.5, 1.125, 96, 20)
    assert counter.now == 2.5


class Sleeps(nn.Module):
    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def forward(self, input_ids):
        time.sleep(self.seconds)
        return SequenceClassifierOutput(logits=input_ids.float())


def candidate(seconds):
    return Candidate(
        model=Sleeps(seconds),
        back_end=BackEnd.TORCH,
        device=torch.device("cpu"),
        inputs=[],
        vocabulary=[],
        longest=None,
        stopwatch=wall_clock(),
        padded=lambda size: {"input_ids": torch.ones(size, 4, dtype=torch.long)},
    )


def test_models_are_measured_one_after_the_other_by_a_counter_that_a_thread_advances(tmp_path, monkeypatch):
    monkeypatch.setattr(Rapl, "seconds", 0.3)
    file = zone(tmp_path, "intel-rapl:0", "package-0", 38_000_000)
    done = threading.Event()
    started = time.perf_counter()

    def advance():  # 10 watts; the counter begins again after 0.2 s, and then every 4 s
        for number in itertools.count():
            microjoules = int(38e6 + 10e6 * (time.perf_counter() - started)) % 40_000_000
            part = tmp_path / f"part-{number % 2}"
            part.write_text(f"{microjoules}\n")
            part.replace(file)
            if done.wait(0.001):
                return

    (tmp_path / "intel-rapl:0" / "max_energy_range_uj").write_text("40000000\n")
    thread = threading.Thread(target=advance)
    thread.start()
    size = Size(32, None, 2)
    timed = {name: Timed(WarmUp(0, stable=True), {size: [1.0]}) for name in ("fast", "slow", "absent")}
    timed["absent"].calls_ms.clear()
    try:
        reason = measure_energy(
            {"fast": candidate(0.01), "slow": candidate(0.04), "absent": candidate(0.01)},
            threads=2,
            report=no_report,
            timed=timed,
            counter_of=lambda device: Rapl.find(tmp_path),
        )
    finally:
        done.set()
        thread.join()
    assert reason is None
    assert timed["absent"].drawn is None
    fast, slow = timed["fast"].drawn, timed["slow"].drawn
    for drawn in (fast, slow):
        assert drawn.seconds >= 0.3
        assert drawn.examples % 32 == 0
        assert drawn.joules == pytest.approx(10 * drawn.seconds, rel=0.3)
        assert drawn.idle_w == pytest.approx(10, rel=0.3)
    assert fast.joules / fast.examples < slow.joules / slow.examples


def test_a_counter_that_fails_costs_no_timing():
    class Broken(Steady):
        def joules(self):
            raise OSError("gone")

    reason = measure_energy(
        {"one": candidate(0.0)}, threads=2, report=no_report, timed={}, counter_of=lambda device: Broken()
    )
    assert reason == "the counter (RAPL) failed: OSError: gone"
