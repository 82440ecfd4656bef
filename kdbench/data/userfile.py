"""A task made of the user's own files or of any data set of the hub, without code."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.data.cache import build_once
from kdbench.data.conll import read_conll
from kdbench.data.delimited import read_delimited
from kdbench.data.hub import read_hub
from kdbench.data.jsonl import read_jsonl
from kdbench.data.lines import readable
from kdbench.data.parquet import read_parquet
from kdbench.data.splitting import hold_out
from kdbench.data.tagging import Scheme, TagError, detect_scheme, iob2_labels, to_iob2
from kdbench.data.usertable import TaskTable
from kdbench.errors import UsageError
from kdbench.files import sha256
from kdbench.kinds import TaskKind
from kdbench.sources import HubSource, LocalSource, Opened, Source
from kdbench.task import Example, Splits, Task
