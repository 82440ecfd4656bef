"""Measure energy by the counters of the hardware: RAPL of the processor packages, or NVML of a GPU; never by a model.

A counter covers the whole package or GPU: what other programs, idle cores and memory controllers draw meanwhile is in it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import BaseModel

_POWERCAP = Path("/sys/class/powercap")


class Counter(Protocol):
    """A hardware counter of energy."""

    source: str
    seconds: float
    """How long a measurement lasts at least, many times the period in which the counter advances."""

    def joules(self) -> float:
        """Return the joules since the counter was found."""
        ...


class Rapl:
    """The counters of all processor packages (``intel-rapl`` of Linux's powercap, which AMD's processors have, too).

    They advance every millisecond (Intel's manual, volume 3B, "RAPL interfaces"). Memory (DRAM) is a domain of its own
    on servers, and not included.
    """

    source = "RAPL"
    seconds = 1.0

    def __init__(self, packages: list[_Package]) -> None:
        self._packages = packages

    @classmethod
    def find(cls, folder: Path = _POWERCAP) -> Rapl | str:
        """Return the counters in the powercap `folder`, or why there are none."""
        # Domains within a package (intel-rapl:0:0) are part of it, as packages are of the platform (psys).
        zones = [zone for zone in sorted(folder.glob("intel-rapl:*")) if _is_package(zone)]
        if not zones:
            return (
                f"{folder} has no counter of a processor package (most virtual machines, and systems other than Linux, have"
                " none)"
            )
        try:
            return cls([_Package.of(zone) for zone in zones])
        except PermissionError:
            return (
                f"the counters in {folder} may be read by root alone; run 'sudo chmod a+r {folder}/intel-rapl:*/energy_uj'"
                " before the models are timed"
            )
        except (OSError, ValueError) as error:
            return f"the counters in {folder} cannot be read: {error}"

    def joules(self) -> float:
        """Return the joules of all packages since they were found; may be read again before a counter wraps twice."""
        return sum(package.microjoules() for package in self._packages) / 1e6


def _is_package(zone: Path) -> bool:
    try:
        return bool(re.fullmatch(r"intel-rapl:\d+", zone.name)) and (zone / "name").read_text().startswith(
            "package"
        )
    except OSError:
        return False


@dataclass
class _Package:
    file: Path
    range_uj: int
    """The counter's largest value; after it, the counter begins again."""
    last_uj: int
    total_uj: int = 0

    @classmethod
    def of(cls, zone: Path) -> _Package:
        file = zone / "energy_uj"
        return cls(file, int((zone / "max_energy_range_uj").read_text()), int(file.read_text()))

    def microjoules(self) -> int:
        now_uj = int(self.file.read_text())
        advanced = now_uj - self.last_uj
        self.total_uj += advanced if advanced >= 0 else advanced + self.range_uj
        self.last_uj = now_uj
        return self.total_uj


class Nvml:
    """The counter of one NVIDIA GPU, since Volta; of the GPU alone, without the processor that feeds it."""

    source = "NVML"
    seconds = 3.0  # the counter advances every 20 to 100 milliseconds

    def __init__(self, library: Any, handle: Any) -> None:
        self._library, self._handle = library, handle
        self._first_mj = self._millijoules()

    @classmethod
    def find(cls, device: torch.device) -> Nvml | str:
        """Return the counter of the CUDA `device`, or why there is none."""
        try:
            import pynvml
        except ImportError:
            return "NVIDIA's management library is not installed; run pip install 'kdbench[energy]'"
        try:
            pynvml.nvmlInit()
            uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
            return cls(pynvml, pynvml.nvmlDeviceGetHandleByUUID(uuid))
        except pynvml.NVMLError as error:
            return f"the GPU reports no energy ({error})"

    def joules(self) -> float:
        """Return the joules since the counter was found."""
        return (self._millijoules() - self._first_mj) / 1000

    def _millijoules(self) -> int:
        return int(self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle))


def counter_of(device: torch.device) -> Counter | str:
    """Return the counter of what runs models on `device`, or why there is none."""
    if device.type == "cuda":
        return Nvml.find(device)
    if device.type == "cpu":
        return Rapl.find()
    return f"a device of type {device.type} has no counter that kdbench reads"


class Drawn(BaseModel):
    """What a counter advanced by during some work."""

    source: str
    joules: float
    seconds: float
    examples: int
    idle_w: float
    """The power of the same counter before, with the models loaded and nothing running."""


class Meter:
    """Measures the energy of models by one counter; creating it takes as long as a measurement, without work."""

    def __init__(
        self,
        counter: Counter,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._counter = counter
        self._clock = clock
        joules, seconds = self._advance(lambda: sleep(counter.seconds))
        self.idle_w = joules / seconds

    def draw(self, answer: Callable[[], int]) -> Drawn:
        """Repeat `answer`, which returns the number of examples answered, for as long as the counter needs."""
        answer()
        examples = 0

        def work() -> None:
            nonlocal examples
            examples += answer()

        joules, seconds = self._advance(work)
        return Drawn(
            source=self._counter.source,
            joules=joules,
            seconds=seconds,
            examples=examples,
            idle_w=self.idle_w,
        )

    def _advance(self, work: Callable[[], None]) -> tuple[float, float]:
        """Repeat `work`; return the joules and the seconds that it took."""
        before_j, started = self._counter.joules(), self._clock()
        while True:
            work()
            seconds = self._clock() - started
            if seconds >= self._counter.seconds:
                return self._counter.joules() - before_j, seconds
