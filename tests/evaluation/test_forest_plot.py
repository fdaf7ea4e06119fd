"""The picture of a report: what stands where, and that it stays readable with many rows."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from reclm_hf.evaluation.forest_plot import render_svg

SVG = "{http://www.w3.org/2000/svg}"
SETTINGS = ("catalogue", "catalogue_warm", "catalogue_cold", "zero_shot")
BACKBONES = ("bias_mf", "lightgcn", "ncf", "sgl", "simgcl")
FLOORS = ("random", "popularity", "ease", "text_cosine", "dropoutnet", "clcrec")

Line = dict[str, object]


def line(
    row: str, kind: str, value: float, seeds: int = 1, backbone: str = "", preset: str = "", mode: str = ""
) -> Line:
    """What the picture reads of one line of the results, but its setting."""
    described = {"backbone": backbone, "preset": preset, "profile_mode": mode}
    interval = {"value": value, "low": value - 0.01, "high": value + 0.01}
    return {"row": row, "kind": kind, **described, "n_seeds": seeds, "metric": "recall@20", **interval, "reason": ""}


def table(lines: list[Line], settings: tuple[str, ...] = SETTINGS) -> pd.DataFrame:
    """Results with the same rows in every setting."""
    return pd.DataFrame([{**entry, "setting": setting} for setting in settings for entry in lines])


@pytest.fixture(scope="module")
def many() -> list[Line]:
    """Floors, and five backbones in two presets with six modes and a mean user."""
    rng = np.random.default_rng(0)
    lines = [line(name, "floor", value) for name, value in zip(FLOORS, rng.uniform(0.02, 0.1, 6), strict=True)]
    for preset in ("standard", "floor_residual"):
        for backbone in BACKBONES:
            for mode in ("none", "llm", "constant", "shuffled", "raw_text", "masked_titles"):
                label = f"{backbone}-{preset}-{mode}"
                lines.append(line(label, "model", rng.uniform(0.05, 0.12), 3, backbone, preset, mode))
            lines.append(line(f"{label} (mean user)", "mean_user", 0.06, 3, backbone, preset, "llm"))
    return lines


def labels(svg: str) -> list[tuple[float, str]]:
    """(height, text) of what stands left of the panels, from the top down."""
    texts = ElementTree.fromstring(svg).iter(f"{SVG}text")
    found = [(float(text.attrib["y"]), text.text or "") for text in texts if text.attrib["text-anchor"] == "end"]
    return sorted(found)


def test_every_row_is_a_point_in_every_panel(many: list[Line]) -> None:
    assert len(many) == 76
    svg = ElementTree.fromstring(render_svg(table(many)))
    legend = 4
    circles = list(svg.iter(f"{SVG}circle"))
    assert len(circles) == legend + 4 * len(many)
    names = [(circle.findtext(f"{SVG}title") or "").partition(": ") for circle in circles[legend:]]
    assert sorted(names) == sorted((str(row["row"]), ": ", f"{row['value']:.4f}") for row in many for _ in SETTINGS)
    width, height = (float(svg.attrib[name]) for name in ("width", "height"))
    for circle in circles:
        assert 0 <= float(circle.attrib["cx"]) <= width
        assert 0 <= float(circle.attrib["cy"]) <= height


def test_many_rows_are_grouped_and_do_not_touch(many: list[Line]) -> None:
    found = labels(render_svg(table(many)))
    texts = [text for _, text in found]
    order = [row["row"] for row in sorted(many[:6], key=lambda row: -float(str(row["value"])))]
    assert texts[:7] == ["floors", *order]
    block = ["llm", "none", "llm (mean user)", "constant", "masked_titles", "raw_text", "shuffled"]
    models = [part for backbone in BACKBONES for part in (backbone, *block)]
    assert texts[7:] == ["floor_residual", *models, "standard", *models]
    assert min(lower - upper for (upper, _), (lower, _) in pairwise(found)) >= 14
    svg = render_svg(table(many))
    width, height = (float(re.search(rf'{name}="(\d+)"', svg)[1]) for name in ("width", "height"))  # type: ignore[index]
    assert width <= 1000
    assert height < 2000


def test_points_stand_on_their_scale(many: list[Line]) -> None:
    svg = ElementTree.fromstring(render_svg(table(many[:6], SETTINGS[:1])))
    texts = [text for text in svg.iter(f"{SVG}text") if text.attrib["text-anchor"] == "middle"]
    right = float(svg.attrib["width"]) - 60
    ticks = [(float(text.text or ""), float(text.attrib["x"])) for text in texts if float(text.attrib["x"]) < right]
    assert 120 <= max(x for _, x in ticks) - min(x for _, x in ticks) <= 230
    scale = np.polyfit(*np.array(ticks).T, 1)
    for circle in list(svg.iter(f"{SVG}circle"))[1:]:
        value = float((circle.findtext(f"{SVG}title") or "").rpartition(": ")[2])
        assert float(circle.attrib["cx"]) == pytest.approx(np.polyval(scale, value), abs=0.2)
    dashes = [entry for entry in svg.iter(f"{SVG}line") if "stroke-dasharray" in entry.attrib]
    best = max(float(str(row["value"])) for row in many[:6])
    assert float(dashes[-1].attrib["x1"]) == pytest.approx(np.polyval(scale, best), abs=0.2)


def test_seeds_stand_beside_every_row(many: list[Line]) -> None:
    svg = ElementTree.fromstring(render_svg(table(many)))
    right = float(svg.attrib["width"]) - 60
    texts = [text.text for text in svg.iter(f"{SVG}text") if float(text.attrib["x"]) > right]
    assert texts.count("seeds") == 3
    assert [text for text in texts if text != "seeds"] == ["1"] * 6 + ["3"] * 70


def test_rows_of_one_mode_keep_their_full_labels() -> None:
    twins = [line(f"lightgcn-{name}", "model", 0.1, 1, "lightgcn", "standard", "llm") for name in ("a", "b")]
    other = line("mf-a", "model", 0.1, 1, "mf", "standard", "llm")
    unnamed = line("mine <1>", "model", 0.1)
    svg = render_svg(table([*twins, other, unnamed]))
    assert [text for _, text in labels(svg)] == [
        *("models", "mine <1>"),
        *("standard", "lightgcn", "lightgcn-a", "lightgcn-b", "mf", "llm"),
    ]
    assert "best floor" not in svg


def test_without_values_there_is_still_a_picture() -> None:
    empty = line("a", "floor", float("nan")) | {"reason": "no targets"}
    svg = ElementTree.fromstring(render_svg(table([empty])))
    assert len(list(svg.iter(f"{SVG}circle"))) == 1
