"""Every stage, run from one seed, learns what it learnt when its curves were stored.

A change here is no failure of itself: where it is meant, `python -m tests.invariant.renew` stores the new curves and
says what changed.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from tests.invariant import reference
from tests.invariant.runs import FIGURES, STAGES, run


@pytest.mark.parametrize("stage", STAGES)
def test_a_seeded_run_is_as_stored(stage: str, tmp_path: Path) -> None:
    stored = reference.read(stage)
    other = reference.changed(stored["environment"], reference.snapshot())
    if other:  # said, not skipped
        warnings.warn(f"{stage}: compared within {reference.OTHER:g}, for {'; '.join(other)}", stacklevel=1)
    found = reference.differences(stage, run(stage, tmp_path), stored["curves"], same=not other)
    assert not found, "\n".join([*found, *other])


@pytest.mark.parametrize("stage", STAGES)
def test_stored_curves_are_of_something_that_is_learnt(stage: str) -> None:
    curves = reference.read(stage)["curves"]
    assert tuple(curves) == FIGURES[stage]
    for name, values in curves.items():
        assert len(values) > 1, name
        assert max(values) > min(values), name


def test_what_is_off_is_found_and_named() -> None:
    stored = {"loss": [2.0, 1.0, 0.5, 0.4]}
    assert reference.differences("sft", {"loss": [2.0, 1.0, 0.5, 0.400001]}, stored, same=True) == []
    moved = {"loss": [2.0, 1.0, 0.5, 0.41]}
    assert "sft loss: 1 of 4" in reference.differences("sft", moved, stored, same=True)[0]
    assert reference.differences("sft", moved, stored, same=False) == []
    assert reference.differences("sft", {"loss": [2.0, 1.0, 0.5, 0.45]}, stored, same=False)
    drawn = {"kl": [0.1] * reference.FIRST + [0.2, 0.3]}
    turned = {"kl": [0.1] * reference.FIRST + [0.2, 9.0]}
    assert reference.differences("rloo", turned, drawn, same=False) == []
    assert reference.differences("rloo", turned, drawn, same=True)
    assert reference.differences("rloo", {"kl": [0.3, *turned["kl"][1:]]}, drawn, same=False)
    assert reference.differences("sft", {"loss": [2.0]}, stored, same=False) == ["sft loss: 1 values, stored are 4"]
    assert reference.differences("sft", {"loss": [float("nan"), 1.0, 0.5, 0.4]}, stored, same=False)
    assert reference.changed({"torch": "1", "trl": "2"}, {"torch": "1", "trl": "3"}) == ["trl 2 -> 3"]
