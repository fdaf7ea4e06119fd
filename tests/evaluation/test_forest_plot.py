"""The picture of a report: what stands where, and that it stays readable with many rows."""

from __future__ import annotations

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


def points(svg: str) -> dict[str, list[tuple[float, float]]]:
    """Tooltip of every point -> where it stands, once a panel."""
    found: dict[str, list[tuple[float, float]]] = {}
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        title, use = group.find(f"{SVG}title"), next(group.iter(f"{SVG}use"), None)
        if title is not None and use is not None:
            place = (float(use.attrib["x"]), float(use.attrib["y"]))
            found.setdefault(title.text or "", []).append(place)
    return found


def texts(svg: str, anchor: str = "") -> list[tuple[float, float, str]]:
    """(height, from the left, text) from the top down; those aligned at `end` are the labels left of the panels."""
    chosen = (
        text
        for text in ElementTree.fromstring(svg).iter(f"{SVG}text")
        if not anchor or f"text-anchor: {anchor}" in text.attrib["style"]
    )
    return sorted((float(text.attrib["y"]), float(text.attrib["x"]), text.text or "") for text in chosen)


def size(svg: str) -> tuple[float, float]:
    root = ElementTree.fromstring(svg)
    return float(root.attrib["width"]), float(root.attrib["height"])


def test_every_row_is_a_point_in_every_panel(many: list[Line]) -> None:
    assert len(many) == 76
    svg = render_svg(table(many))
    found = points(svg)
    expected = {f"{row['row']}: {row['value']:.4f} [{row['low']:.4f}, {row['high']:.4f}]" for row in many}
    assert set(found) == expected
    assert {len(places) for places in found.values()} == {len(SETTINGS)}
    width, height = size(svg)
    assert width <= 1000
    assert height < 2100
    assert all(0 <= x <= width and 0 <= y <= height for places in found.values() for x, y in places)


def test_many_rows_are_grouped_and_do_not_touch(many: list[Line]) -> None:
    found = texts(render_svg(table(many)), "end")
    order = [row["row"] for row in sorted(many[:6], key=lambda row: -float(str(row["value"])))]
    labels = [text for _, _, text in found]
    assert labels[:7] == ["floors", *order]
    block = ["llm", "none", "llm (mean user)", "constant", "masked_titles", "raw_text", "shuffled"]
    models = [part for backbone in BACKBONES for part in (backbone, *block)]
    assert labels[7:] == ["floor_residual", *models, "standard", *models]
    assert min(lower - upper for (upper, *_), (lower, *_) in pairwise(found)) >= 14


@pytest.mark.parametrize(("width", "settings"), [(1000, SETTINGS), (350, SETTINGS[:1])])
def test_points_stand_on_their_scale_and_below_the_legend(
    many: list[Line], width: int, settings: tuple[str, ...]
) -> None:
    svg = render_svg(table(many[:6], settings), settings[:1], width)
    ticks = [(float(text), x) for _, x, text in texts(svg, "middle") if text.startswith("0")]
    scale = np.polyfit(*np.array(ticks).T, 1)
    top = next(y for y, _, text in texts(svg) if text == "best floor")
    for tooltip, [(x, y)] in points(svg).items():
        assert x == pytest.approx(np.polyval(scale, float(tooltip.split()[1])), abs=0.2)
        assert y > top
    assert size(svg)[0] <= width


def test_rows_differ_in_shape_and_not_only_in_colour(many: list[Line]) -> None:
    """Floor, base, augmented, mean user and placebo: five shapes or fillings."""
    root = ElementTree.fromstring(render_svg(table(many), SETTINGS[:1]))
    paths = {f"#{path.attrib['id']}": path.attrib["d"] for path in root.iter(f"{SVG}path") if "id" in path.attrib}
    looks = {
        (paths[use.attrib["href"]], "fill: #ffffff" in use.attrib["style"])
        for use in root.iter(f"{SVG}use")
        if use.attrib["href"] in paths
    }
    assert len(looks) == 5


def test_seeds_stand_beside_every_row(many: list[Line]) -> None:
    svg = render_svg(table(many))
    right = [text for _, x, text in texts(svg, "middle") if x > size(svg)[0] - 40]
    assert right.count("seeds") == 3
    assert [text for text in right if text != "seeds"] == ["1"] * 6 + ["3"] * 70


def test_rows_of_one_mode_keep_their_full_labels() -> None:
    twins = [line(f"lightgcn-{name}", "model", 0.1, 1, "lightgcn", "standard", "llm") for name in ("a", "b")]
    other = line("mf-a", "model", 0.1, 1, "mf", "standard", "llm")
    unnamed = line("mine <1> $x^2$", "model", 0.1)
    svg = render_svg(table([*twins, other, unnamed]))
    assert [text for _, _, text in texts(svg, "end")] == [
        *("models", "mine <1> $x^2$"),
        *("standard", "lightgcn", "lightgcn-a", "lightgcn-b", "mf", "llm"),
    ]
    assert "best floor" not in [text for _, _, text in texts(svg)]


def test_long_labels_keep_their_ends_and_the_picture_its_width() -> None:
    folders = [
        line(f"/somewhere/far/away/runs/{name}/model", "model", 0.1, 1, "ncf", "standard", "llm") for name in "ab"
    ]
    svg = render_svg(table(folders), SETTINGS[:1], 350)
    labels = [text for _, _, text in texts(svg, "end")]
    assert [text[-8:] for text in labels[2:]] == ["/a/model", "/b/model"]
    assert size(svg)[0] <= 380
    assert set(points(svg)) == {f"{row['row']}: 0.1000 [0.0900, 0.1100]" for row in folders}


def test_without_values_there_is_still_a_picture() -> None:
    empty = line("a", "floor", float("nan")) | {"reason": "no targets"}
    svg = render_svg(table([empty]))
    assert points(svg) == {}
    assert "a" in [text for _, _, text in texts(svg, "end")]


def test_equal_tables_give_equal_bytes(many: list[Line]) -> None:
    assert render_svg(table(many[:9])) == render_svg(table(many[:9]))
