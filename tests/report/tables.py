"""Small tables of a report in a folder, and a page read back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reclm_hf.evaluation import Row, beyond_accuracy, beyond_table, evaluate, strata_table, write_report
from reclm_hf.report.extras import Extras
from reclm_hf.report.people_map import MapPoints
from reclm_hf.report.samples import Sample
from tests.evaluation.planted import FixedScores, random_scores, random_split

NAMES = {"dataset": "tiny", "fingerprint": "0123abcd"}
SCRIPT = '<script>alert(1)</script> "$\\frac{1}$" & \u202e'
MANIFEST: dict[str, Any] = {
    "reclm_hf": "0.1.0",
    "data": {"counts": {"users": 60, "items": 300}, "licence": "MIT", "attribution": f"by {SCRIPT}"},
    "profiles": {"test": {"rows": 60, "tokens_in": 12345, "tokens_out": 678}},
    "certificates": [
        {
            "split": "test",
            "cut": 1375229568000000,
            "rows": 60,
            "items_after": 60,
            "probe": {"titles": 55, "hits": 0, "decoys": 200, "decoy_hits": 3},
            "passed": True,
            "n_failures": 0,
        }
    ],
    "versions": {"torch": "2.13"},
    "seconds": 12.34,
    "peak_rss_mib": 1234,
}


def write_tables(folder: Path, label: str = "lightgcn-standard-llm", manifest: bool = True) -> Path:
    """Results of a floor, a base, an augmented model, its mean user and a placebo, with all other tables."""
    split = random_split(n_users=60, n_items=300, n_cold=60)
    wanted = split.targets_matrix("catalogue").toarray()
    asked = [
        ("popularity", "floor", "", 0.5),
        ("lightgcn-standard-none", "model", "none", 1.0),
        (label, "model", "llm", 2.5),
        (f"{label} (mean user)", "mean_user", "llm", 0.6),
        ("lightgcn-standard-constant", "model", "constant", 1.2),
    ]
    rows, lists = [], {}
    for seed, (row, kind, mode, quality) in enumerate(asked):
        model = FixedScores(random_scores(split, seed) + quality * wanted, row)
        described = {} if kind == "floor" else {"backbone": "lightgcn", "preset": "standard", "profile_mode": mode}
        rows.append(Row(row, kind, [evaluate(model, split)], fit_seconds=1.5, **described))
        lists[row] = [beyond_accuracy(model, split)]
    pairs = {"profile": [(label, "lightgcn-standard-constant")], "floors": [(label, "popularity")]}
    write_report(
        folder,
        rows,
        pairs,
        **NAMES,
        beyond=beyond_table(lists, **NAMES, draws=50),
        strata=strata_table(rows, pairs["profile"], split, **NAMES, draws=50),
        draws=100,
    )
    if manifest:
        (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    return folder


def extras(title: str = "A title") -> Extras:
    """Every part that the tables do not hold."""
    history = [(0, np.nan, 0.1), (1, 3.0, np.nan), (2, 2.0, 0.3), (3, 1.5, np.nan), (4, 1.2, 0.2)]
    row = {"backbone": "lightgcn", "preset": "standard", "seed": 0, "best_epoch": 2}
    curves = [
        row | {"row": f"lightgcn-standard-{mode}", "profile_mode": mode, "epoch": epoch, "loss": loss, "value": value}
        for mode in ("none", "llm", "constant")
        for epoch, loss, value in history
    ]
    rng = np.random.default_rng(0)
    kinds = np.repeat(["user", "item", "new"], 20)
    points = pd.DataFrame(
        {
            "kind": kinds,
            "x": rng.normal(size=60),
            "y": rng.normal(size=60),
            "label": np.where(kinds == "user", "", title),
            "weight": rng.integers(0, 9, 60),
        }
    )
    totals = {"user": 60, "item": 240, "new": 60}
    found = MapPoints(points, "what is compared", (0.25, 0.125), totals, "lightgcn-standard-llm")
    sample = Sample(f"user {title}", f"User identity: {title}", [title, "B"], 5, f"a model {title}", "2013-07-31")
    return Extras(pd.DataFrame(curves), found, [sample], notes=[f"A word more: {title}."])


class Page(HTMLParser):
    """The tables of a page by their captions, its elements, and its text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self._lines: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)
        if tag == "table":
            self._lines = []
        elif tag == "tr":
            self._lines.append([])
        elif tag in ("td", "th"):
            self._lines[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] in ("style", "script"):
            return
        self.words.append(data)
        if "caption" in self._open:
            self.tables[data] = self._lines
        elif "td" in self._open or "th" in self._open:
            self._lines[-1][-1] += data

    @property
    def text(self) -> str:
        """All words, single spaces between them."""
        return " ".join(" ".join(self.words).split())


def read_page(folder: Path) -> Page:
    return Page((folder / "report.html").read_text(encoding="utf-8"))
