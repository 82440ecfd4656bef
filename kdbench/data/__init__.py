"""Read a task's data from its source, check it, and encode its splits on disk."""

from kdbench.config import DataSettings, TaskTable, default_cache_dir
from kdbench.data.fetch import Download, missing_downloads, open_source
from kdbench.data.loading import TaskData, load_task
from kdbench.data.preparing import PreparedTask, prepare
from kdbench.data.user_tasks import UserTask

__all__ = [
    "DataSettings",
    "Download",
    "PreparedTask",
    "TaskData",
    "TaskTable",
    "UserTask",
    "default_cache_dir",
    "load_task",
    "missing_downloads",
    "open_source",
    "prepare",
]
