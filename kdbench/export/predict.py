"""Implement ``kdbench predict``: predict texts or the rows of a file with an exported model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from kdbench.api.multi_label_classification import LabelsPrediction
from kdbench.api.sequence_classification import LabelPrediction
from kdbench.api.sequence_regression import ValuePrediction
from kdbench.data.readers import read_delimited, read_jsonl
from kdbench.errors import UsageError
from kdbench.export.load import load
from kdbench.export.model import Prediction, TagsPrediction
from kdbench.utils.files import write_atomically
from kdbench.utils.formatting import defuse_formula, on_one_line

if TYPE_CHECKING:
    from kdbench.export.model import ExportedModel


_DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class Dialect:
    """How the values of a delimited file are told apart."""

    delimiter: str | None = None
    """By default a comma in CSV and a tab in TSV."""
    quoted: bool = True
    """Whether ``"`` quotes values."""


def predict_file(
    model: ExportedModel,
    source: Path,
    target: Path,
    text_columns: tuple[str, ...] = (),
    dialect: Dialect = Dialect(),  # frozen
) -> int:
    """Write the rows of `source` with predictions to `target`, and return the number of rows.

    Files are CSV, TSV or JSON Lines by their extensions. In CSV and TSV a value that a spreadsheet would run as a
    formula is prefixed by an apostrophe.

    Args:
        text_columns: by default ``text``, and ``text_pair`` if the task has pairs.
        dialect: of `source`, if it is CSV or TSV.

    Raises:
        UsageError: a file cannot be read or has another format, a column is missing or would be replaced, or `target`
            is `source`.
    """
    _check_files(source, target)
    columns = text_columns or (("text", "text_pair") if model.manifest.paired else ("text",))
    if len(columns) != (2 if model.manifest.paired else 1):
        raise UsageError(
            f"--text-column names {len(columns)} columns; the task {model.manifest.task} has "
            f"{'pairs: name two' if model.manifest.paired else 'one text: name one'}"
        )
    rows = _read(source, columns, dialect)
    predictions = model.predict([_input(place, row, columns) for place, row in rows])
    results = [
        _with_prediction(place, row, prediction_columns(prediction))
        for (place, row), prediction in zip(rows, predictions, strict=True)
    ]
    write_atomically(target, _text_of(results, target))
    return len(results)


def prediction_columns(prediction: Prediction) -> dict[str, Any]:
    """Return the output columns of a prediction."""
    if isinstance(prediction, LabelPrediction):
        return {"predicted_label": prediction.label, "predicted_score": prediction.score}
    if isinstance(prediction, ValuePrediction):
        return {"predicted_value": prediction.value}
    if not isinstance(prediction, TagsPrediction):  # of several labels, or of a plugin's kind of task
        return {f"predicted_{name}": value for name, value in asdict(prediction).items()}
    return {
        "predicted_words": list(prediction.words),
        "predicted_tags": list(prediction.tags),
        "predicted_entities": [asdict(entity) for entity in prediction.entities],
    }


def _check_files(source: Path, target: Path) -> None:
    known = (*_DELIMITERS, ".jsonl", ".ndjson")
    for flag, path in (("--file", source), ("--out", target)):
        if path.suffix.lower() not in known:
            raise UsageError(f"{flag} {path}: unknown file type; use {', '.join(known)}")
    if not source.is_file():
        raise UsageError(f"--file {source}: there is no such file")
    if target.exists() and target.samefile(source):
        raise UsageError(f"--out {target} is the input itself; name another file")
    if not target.parent.is_dir():
        raise UsageError(f"--out {target}: there is no folder {target.parent}; create it first")


def _read(source: Path, columns: tuple[str, ...], dialect: Dialect) -> list[tuple[str, dict[str, Any]]]:
    delimiter = _DELIMITERS.get(source.suffix.lower())
    if delimiter is None:
        return list(read_jsonl(source, columns))
    delimiter = dialect.delimiter or delimiter
    return list(read_delimited(source, columns, delimiter=delimiter, quoted=dialect.quoted))


def _input(place: str, row: dict[str, Any], columns: tuple[str, ...]) -> Any:
    texts = [row[column] for column in columns]
    for column, text in zip(columns, texts, strict=True):
        if not isinstance(text, (str, list)):
            raise UsageError(f"{place}: {column!r} is {text!r}, not a text; correct it")
    return texts[0] if len(texts) == 1 else tuple(texts)


def _with_prediction(place: str, row: dict[str, Any], prediction: dict[str, Any]) -> dict[str, Any]:
    taken = [name for name in prediction if name in row]
    if taken:
        raise UsageError(f"{place}: the column {taken[0]!r} exists already; rename it")
    return {**row, **prediction}


def _text_of(results: list[dict[str, Any]], target: Path) -> str:
    delimiter = _DELIMITERS.get(target.suffix.lower())
    if delimiter is None:
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in results)
    import pandas as pd

    table = pd.DataFrame([{key: _cell(value) for key, value in row.items()} for row in results])
    table = table.rename(columns=lambda name: defuse_formula(str(name)))
    return str(table.to_csv(index=False, sep=delimiter, lineterminator="\n"))


def _cell(value: object) -> object:
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False)
    return defuse_formula(value) if isinstance(value, str) else value


def check_arguments(texts: tuple[str, ...], source: Path | None, target: Path | None) -> None:
    """Check the arguments of `kdbench predict` before anything is loaded.

    Raises:
        UsageError: texts and a file, or neither; a file without the other.
    """
    if bool(texts) == (source is not None):
        raise UsageError(
            'predict takes texts or a --file: kdbench predict DIR "a text", or --file FILE --out FILE'
        )
    if (source is None) != (target is None):
        raise UsageError("--file and --out go together: name the file to read and the file to write")


def predict_texts(folder: Path, texts: tuple[str, ...], plugins: Sequence[str] = ()) -> list[Prediction]:
    """Return the predictions of the model in `folder`; if its task has pairs, every two texts form one.

    Raises:
        UsageError: `folder` holds no exported model, or a pair lacks its second text.
    """
    model = load(folder, plugins=plugins)
    if not model.manifest.paired:
        return model.predict(texts)
    if len(texts) % 2:
        raise UsageError(
            f"{folder}: the task {model.manifest.task} has pairs of texts, but {len(texts)} texts were given; give two per pair"
        )
    return model.predict(list(zip(texts[::2], texts[1::2], strict=True)))


def predict_rows(
    folder: Path,
    source: Path,
    target: Path,
    text_columns: tuple[str, ...],
    plugins: Sequence[str] = (),
    dialect: Dialect = Dialect(),  # frozen
) -> int:
    """Predict the rows of the file `source` with the model in `folder`, write them to `target` and return their number.

    Raises:
        UsageError: `folder` holds no exported model, or see `predict_file`.
    """
    return predict_file(load(folder, plugins=plugins), source, target, text_columns, dialect)


def predictions_data(predictions: Iterable[Prediction]) -> list[dict[str, Any]]:
    """Return `predictions` as plain JSON."""
    return [asdict(prediction) for prediction in predictions]


def predictions_table(predictions: Iterable[Prediction]) -> Table:
    """Return `predictions` as a table for the terminal."""
    table = Table("#", "prediction", box=None)
    for place, prediction in enumerate(predictions):
        table.add_row(str(place), on_one_line(_prediction_text(prediction)))
    return table


def _prediction_text(prediction: Prediction) -> str:
    if isinstance(prediction, LabelPrediction):
        return f"{prediction.label} ({prediction.score:.3f})"
    if isinstance(prediction, LabelsPrediction):
        given = (f"{label} ({prediction.scores[label]:.3f})" for label in prediction.labels)
        return ", ".join(given) or "no label"
    if isinstance(prediction, ValuePrediction):
        return f"{prediction.value:.4g}"
    if not isinstance(prediction, TagsPrediction):
        return ", ".join(f"{name} {value}" for name, value in asdict(prediction).items())
    entities = ", ".join(
        f"{entity.text} = {entity.label} ({entity.score:.3f})" for entity in prediction.entities
    )
    tagged = " ".join(f"{word}/{tag}" for word, tag in zip(prediction.words, prediction.tags, strict=True))
    return f"{entities or 'no entity'}; {tagged}"
