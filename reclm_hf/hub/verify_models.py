"""What verifying a model runs: a recommender's evaluation on its pinned tables, a tuned model on its base."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..bundles import BundleError
from .card_data import input_of
from .checking import Artefact, Check

if TYPE_CHECKING:
    from ..data.splits import Split, Splits
    from ..evaluation.rows import Row

TOLERANCE = 1e-6
Line = Mapping[str, Any]
"""One of the figures of a manifest, or one of a table of results."""

_KINDS = ("model", "mean_user", "floor")
_COUNTS = ("n_users", "n_targets", "n_candidates")
_MEAN_USER = " (mean user)"
_SHOWN = 5


def check_recommender(artefact: Artefact) -> Iterator[Check]:
    """Load the tables that a recommender names, and evaluate it on them."""
    try:
        splits = _tables(artefact)
        if splits is None:
            why = "the manifest names no tables, so nothing could be evaluated again; push with --tables"
            yield Check("figures", True, why, skipped=True)
            return
        yield Check("tables", True, _same_data(artefact.manifest, splits))
    except (ValueError, OSError) as error:
        yield Check("tables", False, str(error))
        return
    yield from _figures(artefact, splits)


def _tables(artefact: Artefact) -> Splits | None:
    from ..data.bundled import bundled_names
    from ..data.load import load_splits
    from .pull import pull

    entry = input_of(artefact.manifest, "tables")
    if entry is not None and entry["repo_id"]:
        if not entry["revision"]:
            raise ValueError(f"inputs: tables {entry['repo_id']} are not pinned to a commit: push again with --tables.")
        # A folder of their own: a model and its tables may have one name, in repositories of two types.
        place = artefact.scratch / "tables" / str(entry["repo_id"]).replace("/", "--")
        options: dict[str, Any] = {"endpoint": artefact.endpoint, "token": artefact.token}
        return load_splits(
            str(pull(entry["repo_id"], place, repo_type="dataset", revision=entry["revision"], **options))
        )
    name = (artefact.manifest["data"] or {}).get("dataset")
    return load_splits(name) if name in bundled_names() else None


def _same_data(manifest: Mapping[str, Any], splits: Splits) -> str:
    """Compare the tables with the data that the manifest describes. Raises ValueError where they differ."""
    stated = manifest["data"] or {}
    counts = {"users": splits.data.n_users, "items": splits.data.n_items, "interactions": len(splits.data.user)}
    cuts = {split.name: split.cut for split in (splits.validation, splits.test)}
    found = {"fingerprint": splits.fingerprint, "counts": counts, "cuts": cuts, "dataset": splits.data.name}
    for name, value in found.items():
        if stated.get(name) and stated[name] != value:
            raise ValueError(f"data.{name}: the manifest says {stated[name]}, the pinned tables give {value}")
    known = ", ".join(name for name in found if stated.get(name)) or "nothing that the manifest could be compared with"
    return f"{splits.data.name}, {counts['interactions']:,} interactions; equal: {known}"


def _figures(artefact: Artefact, splits: Splits) -> Iterator[Check]:
    strange = {(line["kind"], line["row"]) for line in artefact.manifest["figures"] if line["kind"] not in _KINDS}
    for kind, row in sorted(strange):
        yield Check("figures", False, f"{row}: there is no kind {kind!r} of figures, only {', '.join(_KINDS)}")
    own = [line for line in artefact.manifest["figures"] if line.get("kind") in ("model", "mean_user")]
    single = [line for line in own if line.get("n_seeds") == 1]
    several = len(own) - len(single)
    by_split = {split.name: split for split in (splits.validation, splits.test)}
    for name in sorted({str(line.get("split")) for line in single}):
        lines = [line for line in single if line.get("split") == name]
        try:
            if name not in by_split:
                raise ValueError(f"figures: there is no split {name!r}")
            rows = _own_rows(artefact, lines, by_split[name])
            yield Check("figures", True, f"{name}: {_compare(artefact.manifest, lines, rows, splits)}")
        except (ValueError, OSError) as error:
            yield Check("figures", False, f"{name}: {error}")
    if several:
        why = f"{several} figures are means over several seeds; the repository holds the model of one"
        yield Check("figures of several seeds", True, why, skipped=True)
    if not own:
        yield Check("figures", True, "the manifest has none: push with --results", skipped=True)
    yield from _floors(artefact, splits)


def _own_rows(artefact: Artefact, lines: Sequence[Line], split: Split) -> list[Row]:
    """The recommender and its mean user, evaluated now, under the names that the figures have."""
    from ..pipeline.evaluate_stage import saved_model_rows

    names = {str(line["row"]).removesuffix(_MEAN_USER) for line in lines}
    if len(names) != 1:
        raise ValueError(
            f"figures: rows of {len(names)} recommenders ({', '.join(sorted(names)[:3])}), but this is one"
        )
    source, (name,) = str(artefact.folder), names
    return [replace(row, label=row.label.replace(source, name, 1)) for row in saved_model_rows(source, split)]


def _floors(artefact: Artefact, splits: Splits) -> Iterator[Check]:
    floors = [line for line in artefact.manifest["figures"] if line["kind"] == "floor"]
    lines = [line for line in floors if artefact.floors and line["split"] == "test"]  # where floors are fitted
    if len(lines) < len(floors):
        more = "; --floors fits the floors again" if not artefact.floors else ""
        why = f"{len(floors) - len(lines)} figures of floors stand as they were pushed{more}"
        yield Check("floors", True, why, skipped=True)
    if not lines:
        return
    try:
        yield Check("floors", True, _compare(artefact.manifest, lines, _floor_rows(artefact, splits), splits))
    except (ValueError, OSError, BundleError) as error:
        yield Check("floors", False, str(error))


def _floor_rows(artefact: Artefact, splits: Splits) -> list[Row]:
    from ..pipeline.evaluate_stage import floor_rows
    from ..pipeline.texts import encode_items
    from ..recommender.text_encoder import TextEncoder

    details = artefact.manifest["details"]
    if not isinstance(details.get("text_encoder"), str):
        raise ValueError("details: no text_encoder is recorded, and floors read texts")
    encoder = TextEncoder(
        details["text_encoder"], details.get("text_encoder_revision"), details.get("text_max_length") or 128
    )
    folder = artefact.scratch / f"floors-{splits.fingerprint[:12]}"
    return floor_rows(splits, encode_items(splits.data, encoder), folder)


def _compare(manifest: Mapping[str, Any], lines: Sequence[Line], rows: Sequence[Row], splits: Splits) -> str:
    """Compare figures with a table of results made now.

    Raises:
        ValueError: figures that did not come back; names row, setting, metric and both values.
    """
    # Which seed the intervals were drawn with is not part of a figure: that of the run, or the usual one.
    wrong: list[str] = []
    for seed in dict.fromkeys((0, manifest["seed"] or 0)):
        wrong = _wrong(lines, _table(lines, rows, splits, seed))
        if not wrong:
            return f"{len(lines)} figures came back within {TOLERANCE:g}, with their intervals and counts"
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    raise ValueError("; ".join(wrong[:_SHOWN]) + more)


def _table(
    lines: Sequence[Line], rows: Sequence[Row], splits: Splits, seed: int
) -> dict[tuple[str, ...], dict[str, Any]]:
    from ..evaluation.rows import results_table

    metrics = sorted({str(line["metric"]) for line in lines})
    table = results_table(rows, dataset=splits.data.name, fingerprint=splits.fingerprint, metrics=metrics, seed=seed)
    return {_key(line): line for line in table.to_dict("records")}


def _wrong(lines: Sequence[Line], found: Mapping[tuple[str, ...], Line]) -> list[str]:
    wrong = []
    for line in lines:
        again = found.get(_key(line))
        said = ", ".join(str(line.get(name)) for name in ("row", "setting", "metric"))
        if again is None:
            wrong.append(f"{said}: there is no such figure")
            continue
        wrong += [
            f"{said}: {name} is {line.get(name)} in the manifest, {again[name]} when run again"
            for name in ("value", "low", "high", *_COUNTS)
            if not _close(line.get(name), again[name])
        ]
        if (line.get("interval") or "") != again["interval"]:
            wrong.append(f"{said}: the interval is over {line.get('interval')!r}, {again['interval']!r} when run again")
    return wrong


def _key(line: Line) -> tuple[str, ...]:
    return tuple(str(line.get(name)) for name in ("kind", "row", "setting", "metric"))


def _close(stated: Any, found: Any) -> bool:
    """Equal within the tolerance; a figure that there is none of is null in a manifest."""
    absent = found is None or math.isnan(float(found))
    if stated is None or absent:
        return stated is None and absent
    return isinstance(stated, int | float) and abs(float(stated) - float(found)) <= TOLERANCE


def check_adapter(artefact: Artefact) -> Iterator[Check]:
    """Load a profiler, on its base model where it is an adapter."""
    from ..profiler.modeling_reclm_profiler import RecLMProfiler

    try:
        made = RecLMProfiler.from_pretrained(artefact.folder, token=artefact.library_token, device="cpu")
        yield Check("model", True, f"loads: {made.config.layout}, {made.config.base_label or made.config.base_model}")
    except (ValueError, OSError, RuntimeError) as error:
        yield Check("model", False, str(error))
        return
    yield from _base(artefact, made.config.base_model, made.config.base_revision, made.config.layout)


def check_reward_model(artefact: Artefact) -> Iterator[Check]:
    """Load a reward model, on its base model where it is an adapter."""
    from ..tuning.rewards.model import RewardModel

    try:
        made = RewardModel.from_pretrained(artefact.folder, token=artefact.library_token)
        yield Check("model", True, f"loads: {made.config.layout}, {made.config.base_label or made.config.base_model}")
    except (ValueError, OSError, RuntimeError) as error:
        yield Check("model", False, str(error))
        return
    yield from _base(artefact, made.config.base_model, made.config.base_revision, made.config.layout)


def _base(artefact: Artefact, name: str, revision: str | None, layout: str) -> Iterator[Check]:
    """Compare the base model that the manifest names with the one that the model was loaded on."""
    entry = input_of(artefact.manifest, "base_model")
    if layout != "adapter" or entry is None:
        return
    stated, used = (entry["repo_id"], entry["revision"]), (name, revision)
    same = stated[0] == used[0] and (stated[1] is None or stated[1] == used[1])
    said = " and ".join("@".join(filter(None, pair)) for pair in (stated, used))
    yield Check("base model", same, f"{stated[0]}" if same else f"the manifest and the adapter name two: {said}")
