"""Whether tables and certificates that somebody else wrote are what the page takes them for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..evaluation.report_format import GROUPS, PRIMARY, group_of

if TYPE_CHECKING:
    import pandas as pd

_COUNTED = ("n_users", "n_targets", "n_candidates")
_ABOUT = ("setting", "metric", "row", "kind", "profile_mode", "dataset", "split", "reason")
_DIFFERENCE = ("difference", "low", "high")


def fault_of_results(table: pd.DataFrame) -> str:
    """What keeps a table of results from being shown, as a sentence goes on after "it"; "" for nothing."""
    fault = _fault(table, _ABOUT, ("value", "low", "high", *_COUNTED))
    if fault:
        return fault
    for kind, mode in set(zip(table["kind"], table["profile_mode"], strict=True)):
        if group_of(kind, mode) not in GROUPS:
            return f"has rows of a kind that is not known here, {kind!r}"
    rows = set(zip(table["setting"], table["row"], strict=True))
    measured = table[table["metric"] == PRIMARY]
    lacking = sorted(rows - set(zip(measured["setting"], measured["row"], strict=True)))
    return f"has no {PRIMARY} of {lacking[0][1]!r}" if lacking else ""


def fault_of_comparisons(table: pd.DataFrame) -> str:
    """As `fault_of_results`, of comparisons; where nothing was tested there is no p."""
    numbers = _DIFFERENCE if "p_holm" in table and table["p_holm"].isna().all() else (*_DIFFERENCE, "p_holm")
    return _fault(table, ("setting", "metric", "a", "b", "verdict"), numbers)


def fault_of_strata(table: pd.DataFrame) -> str:
    """As `fault_of_results`, of strata."""
    return _fault(table, ("setting", "metric", "by", "a", "b", "stratum"), (*_DIFFERENCE, "place", "n_users"))


def readable(certificate: Mapping[str, Any]) -> bool:
    """Whether an entry of a manifest is a certificate as `Certificate.to_dict` gives it; what it lacks counts as 0."""
    probe = certificate.get("probe") or {}
    return (
        _counts(certificate, ("rows", "items_after", "n_failures"))
        and isinstance(certificate.get("failures", []), list)
        and isinstance(probe, dict)
        and _counts(probe, ("titles", "hits", "decoys", "decoy_hits"))
    )


def _fault(table: pd.DataFrame, texts: Sequence[str], numbers: Sequence[str]) -> str:
    lacking = [name for name in (*texts, *numbers) if name not in table.columns]
    if lacking:
        return f"has no column {lacking[0]!r}"
    if table.empty:
        return ""
    for name in texts:
        if not all(isinstance(value, str) for value in table[name]):
            return f"holds something else than text in the column {name!r}"
    for name in numbers:
        kind = table[name].dtype
        # The types of pandas' own (Int64) hold pd.NA, which nothing can be computed with.
        if not isinstance(kind, np.dtype) or kind.kind not in "iuf":
            return f"holds something else than numbers in the column {name!r}"
    return ""


def _counts(entries: Mapping[str, Any], names: Sequence[str]) -> bool:
    values = [entries.get(name, 0) for name in names]
    return all(isinstance(value, int) and not isinstance(value, bool) for value in values)
