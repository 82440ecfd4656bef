"""Define the kinds of task: their labels, model heads, losses and decoding of logits."""

from kdbench.api.kind import IGNORED, UNLABELLED, TaskKind
from kdbench.api.multi_label_classification import MultiLabelClassification
from kdbench.api.sequence_classification import SequenceClassification
from kdbench.api.sequence_regression import SequenceRegression
from kdbench.api.token_classification import TokenClassification

TaskKind.SEQUENCE_CLASSIFICATION = SequenceClassification()
TaskKind.SEQUENCE_REGRESSION = SequenceRegression()
TaskKind.TOKEN_CLASSIFICATION = TokenClassification()
TaskKind.MULTI_LABEL_CLASSIFICATION = MultiLabelClassification()

__all__ = ["IGNORED", "UNLABELLED", "TaskKind"]
