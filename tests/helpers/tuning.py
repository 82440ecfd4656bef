"""Builders of what a search would have left."""

from __future__ import annotations

from datetime import datetime, timezone

from helpers.support import key_named

from kdbench.results.tuning import SearchResult, Study, Trial

ENDED = datetime(2026, 11, 3, tzinfo=timezone.utc)


def make_study(strategy: str, *scores: float | None, repeats: int = 2) -> SearchResult:
    """Return a study of `strategy` with a trial of 30 seconds for each of `scores`; None is one that failed."""
    study = Study(
        key=key_named(strategy),
        strategy=strategy,
        tasks=("sst2",),
        metrics=("accuracy",),
        budget="quick",
        model="my-bert",
        weights_sha256="0" * 64,
        seeds=tuple(range(1_000_000, 1_000_000 + repeats)),
        validation_examples=1000,
        is_unseen=True,
    )
    trials = [
        Trial(
            study=study.key,
            number=number,
            params={} if number == 1 else {"learning_rate": number / 1000},
            score=score,
            scores={} if score is None else {"sst2": (score - 0.01, score + 0.01)},
            reason="it diverged" if score is None else None,
            seconds=30.0,
            finished_at=ENDED,
        )
        for number, score in enumerate(scores, start=1)
    ]
    return SearchResult(study, trials)
