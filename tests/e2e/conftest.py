"""The Space as visitors meet it: a small world, served over HTTP by this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest

from reclm_hf.space.world import World
from tests.space.worlds import TinyWriter, tiny_world

SCRIPT = '<script>document.title="owned"</script>'
HOSTILE = [
    SCRIPT,
    "<img src=x onerror='document.title=\"owned\"'>",
    "{{7*7}} ${7*7} &amp; <b>bold</b>",
    "😀 emoji 🎬",
    "שלום עולם (1999)",
    "W" * 120,
]


@contextmanager
def served(world: World) -> Iterator[str]:
    """The address of a Space of this world."""
    from reclm_hf.space.app import build, serve

    page = build(world)
    try:
        yield serve(page).rstrip("/")
    finally:
        page.close()


def hostile_world() -> World:
    """Titles that would break a page which takes them for HTML, and results, certificates, links and a writer."""
    titles = [f"{HOSTILE[row // 2 % len(HOSTILE)]} {row}" if row % 2 else f"Title {row:03d}" for row in range(50)]
    links = [("Card <of> it", "https://example.org/?a=1&b=2"), ("bad", "javascript:alert(1)")]
    return tiny_world(
        titles=titles,
        writer=TinyWriter(),
        results=results(),
        comparisons=comparisons(),
        strata=strata(),
        certificates=CERTIFICATES,
        links=links,
    )


def results() -> pd.DataFrame:
    """A floor, a model with profiles, one without, and a placebo, in two settings; the second was not evaluated."""
    rows = [
        ("popularity_decayed", "floor", "", 0.21),
        ("lightgcn-floor_residual-llm", "model", "llm", 0.2345),
        ("lightgcn-floor_residual-none", "model", "none", 0.22),
        ("lightgcn-floor_residual-shuffled", "model", "shuffled", 0.19),
        (f"mean {SCRIPT}", "mean_user", "llm", 0.18),
    ]
    about = {"dataset": "checkerboard", "fingerprint": "f" * 16, "split": "test", "interval": "items"}
    sizes = {"n_users": 50, "n_targets": 99, "n_candidates": 50}
    lines = []
    for setting, reason in (("catalogue", ""), ("zero_shot", "no user has a cold target")):
        for row, kind, mode, value in rows:
            who = {"setting": setting, "reason": reason, "row": row, "kind": kind, "profile_mode": mode}
            figures = {"value": value, "low": value - 0.05, "high": value + 0.05}
            lines += [
                about | sizes | who | figures | {"metric": metric}
                for metric in ("recall@20", "ndcg@20", f"hit {SCRIPT}")
            ]
    return pd.DataFrame(lines)


def comparisons() -> pd.DataFrame:
    pair = {"a": "lightgcn-floor_residual-llm", "b": "popularity_decayed"}
    figures = {"difference": 0.0245, "low": -0.0012, "high": 0.0523, "p_holm": 0.0321, "verdict": "not shown"}
    return pd.DataFrame([{"setting": "catalogue", "metric": "recall@20", **pair, **figures}])


def strata() -> pd.DataFrame:
    pair = {"setting": "catalogue", "metric": "recall@20", "a": "with", "b": "without", "by": "history"}
    strata = [("1-5", 0.02, -0.01, 0.05), ("6+", -0.01, np.nan, np.nan)]
    return pd.DataFrame(
        [
            {**pair, "stratum": name, "place": place, "difference": value, "low": low, "high": high, "n_users": 25}
            for place, (name, value, low, high) in enumerate(strata)
        ]
    )


_CHECKED = {"cut": 1, "rows": 48, "items_after": 4}
CERTIFICATES = [
    _CHECKED
    | {"split": "test", "passed": True, "n_failures": 0, "failures": []}
    | {"probe": {"titles": 4, "hits": 0, "decoys": 40, "decoy_hits": 1}},
    _CHECKED
    | {"split": "validation", "passed": False, "n_failures": 1, "failures": [f"row 1: names {SCRIPT}"]}
    | {"probe": None},
]


@pytest.fixture(scope="package")
def space() -> Iterator[str]:
    """Address of the Space of `hostile_world`."""
    with served(hostile_world()) as url:
        yield url
