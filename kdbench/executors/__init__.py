"""Where jobs run: in this process, in processes of their own."""

from kdbench.executors.inline import InlineExecutor
from kdbench.executors.job import Ended, Event, Executor, Job, Progress, Report, Stage
from kdbench.executors.process import ProcessExecutor

__all__ = [
    "Ended",
    "Event",
    "Executor",
    "InlineExecutor",
    "Job",
    "ProcessExecutor",
    "Progress",
    "Report",
    "Stage",
]
