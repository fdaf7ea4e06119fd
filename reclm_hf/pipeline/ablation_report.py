"""The report of an ablation: one long table that holds every figure, and Markdown that is rendered from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from reclm_hf.evaluation.report_format import SHORT, escape, markdown_table, number
from reclm_hf.tuning.measures.compare import Measured, compare

from .ablation_profiles import RAW, Stage, StageProfiles
from .ablation_recommender import PROFILE_FAMILY, STAGE_FAMILY, AblationPlan

if TYPE_CHECKING:
    import pandas as pd

ABLATION_COLUMNS = {
    "part": "string",
    "stage": "string",
    "row": "string",
    "setting": "string",
    "name": "string",
    "against": "string",
    "value": "double",
    "low": "double",
    "high": "double",
    "n": "int64",
    "p_holm": "double",
    "verdict": "string",
}
"""One figure a row. part: `recommender`, `profiles` (of the profiles that were recommended from), `measures` (of
`reclm measure`) or `cost`. against: "" for a value, else what it is a difference from; intervals are 95 %, of the
recommenders the wider one of users and items."""

RECOMMENDER, PROFILES, MEASURES, COST = "recommender", "profiles", "measures", "cost"
_PRIMARY = "recall@20"
_TUNED_FROM = dict.fromkeys(("mask+ppo", "mask+rloo", "mask+grpo"), ("mask",))
_COSTS = {
    "tuning_wall_s": "tuning, s",
    "tuning_cpu_s": "processor, s",
    "tuning_total_wall_s": "with what it starts from, s",
    "steps": "steps",
    "tokens_read": "tokens read",
    "profile_wall_s": "profiles, s",
    "profiles_taken": "of them written before",
    "profile_tokens_in": "tokens in",
    "profile_tokens_out": "tokens out",
    "recommender_s": "recommenders, s",
}


def recommender_lines(plan: AblationPlan, results: pd.DataFrame, comparisons: pd.DataFrame) -> list[dict[str, Any]]:
    """The values of every row and the differences of the comparisons, as lines of the long table."""
    stage_of = {row: group for row, members in plan.members().items() for group, _ in members}
    lines = [
        {
            "part": RECOMMENDER,
            "stage": stage_of.get(line["row"].removesuffix(" (mean user)"), ""),
            "row": line["row"],
            "setting": line["setting"],
            "name": line["metric"],
            "value": line["value"],
            "low": line["low"],
            "high": line["high"],
            "n": line["n_users"],
        }
        for line in results.to_dict("records")
    ]
    users = {line["setting"]: line["n_users"] for line in results.to_dict("records")}
    lines += [
        {
            "part": RECOMMENDER,
            "stage": stage_of.get(line["a"], ""),
            "row": line["a"],
            "setting": line["setting"],
            "name": line["metric"],
            "against": line["b"],
            "value": line["difference"],
            "low": line["low"],
            "high": line["high"],
            "n": users[line["setting"]],
            "p_holm": line["p_holm"],
            "verdict": line["verdict"],
        }
        for line in comparisons.to_dict("records")
    ]
    return lines


def measure_lines(part: str, measured: Mapping[str, Measured]) -> list[dict[str, Any]]:
    """Means of every stage, and its paired changes from the plain model, as lines of the long table.

    Args:
        part: `PROFILES` or `MEASURES`. measured: stage -> its figures, in the order of the stages.
    """
    lines: list[dict[str, Any]] = []
    raw = measured.get(RAW)
    for stage, found in measured.items():
        table = compare(None if stage == RAW else raw, found)
        for line in table.to_dict("records"):
            shared = {"part": part, "stage": stage, "name": line["measure"]}
            lines.append(shared | {name: line[name] for name in ("low", "high", "n")} | {"value": line["mean"]})
            if line["n_paired"]:
                change = {"value": "difference", "low": "difference_low", "high": "difference_high", "n": "n_paired"}
                lines.append(shared | {"against": RAW} | {name: line[key] for name, key in change.items()})
    return lines


def cost_lines(
    stages: Sequence[Stage],
    profiles: Mapping[str, StageProfiles],
    seconds: Mapping[tuple[str, str], float],
    reward: str | None = None,
) -> list[dict[str, Any]]:
    """What every stage cost: tuning (from its manifest), writing the profiles, training the recommenders.

    Args:
        seconds: (group, label) -> of training. reward: the folder of the reward model, which the refined stages need.
    """
    manifests = {stage.name: stage.manifest for stage in stages}
    rewarded = Path(reward) / "manifest.json" if reward else None
    extra = json.loads(rewarded.read_text(encoding="utf-8")) if rewarded is not None and rewarded.is_file() else {}
    lines = []
    for stage in stages:
        cost, figures = stage.manifest.get("cost") or {}, stage.manifest.get("figures") or {}
        before = [manifests.get(name, {}) for name in _TUNED_FROM.get(stage.name, ())]
        before += [extra] if before and (stage.manifest.get("settings") or {}).get("reward") != "verifiable" else []
        # NaN where what it starts from has no manifest: a part of the sum would look like all of it.
        spent = [(part.get("cost") or {}).get("wall_s", np.nan) for part in (stage.manifest, *before)]
        written = profiles[stage.name].cost
        values = {
            "tuning_wall_s": cost.get("wall_s"),
            "tuning_cpu_s": cost.get("cpu_s"),
            "tuning_total_wall_s": sum(spent) if stage.manifest and before else None,
            "steps": figures.get("steps", figures.get("updates")),
            "tokens_read": figures.get("tokens_read"),
            "profile_wall_s": written["wall_s"],
            "profiles_taken": written["taken"],
            "profile_tokens_in": written["tokens_in"],
            "profile_tokens_out": written["tokens_out"],
            "recommender_s": sum(taken for (group, _), taken in seconds.items() if group == stage.name),
        }
        lines += [
            {"part": COST, "stage": stage.name, "name": name, "value": float(value)}
            for name, value in values.items()
            if isinstance(value, int | float)
        ]
    return lines


def ablation_table(lines: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The long table, columns `ABLATION_COLUMNS`."""
    import pandas as pd

    usual = {name: {"string": "", "double": np.nan, "int64": 0}[kind] for name, kind in ABLATION_COLUMNS.items()}
    return pd.DataFrame([usual | dict(line) for line in lines], columns=list(ABLATION_COLUMNS))


def render_ablation(
    table: pd.DataFrame,
    plan: AblationPlan,
    *,
    head: Sequence[str],
    left_out: Sequence[str] = (),
    notes: Sequence[str] = (),
    cases: str = "",
) -> str:
    """The whole of `report.md`.

    Args:
        table: of `ablation_table`. head: sentences that say what was measured on whom. left_out: a line for each stage
            that is not there. cases: the section of the case study.
    """
    parts = ["# Ablation: what each stage of tuning is worth\n", "\n".join(head) + "\n"]
    if left_out:
        parts.append("".join(f"- {line}\n" for line in left_out))
    parts.append("## Recommenders\n\n![recall@20 of every row with its 95 % interval](recommenders/report.svg)\n")
    parts += [_recommender_table(table, f"{backbone}-{preset}", plan) for backbone, preset in plan.recommenders]
    parts.append(
        f"{_PRIMARY} with its 95 % interval, the wider one of users and items; differences are paired, `better` and "
        "`worse` after Holm's correction. `constant` is the twin: the same parameters, everybody's profile the mean "
        "one. All rows, both intervals, floors and mean users: [recommenders/report.md](recommenders/report.md).\n"
    )
    parts.append(_contrast_table(table, plan))
    for part, title in (
        (PROFILES, "Profiles that were recommended from"),
        (MEASURES, "Measures of `reclm measure`, as the models write freely"),
    ):
        if len(table[table["part"] == part]):
            parts.append(f"## {title}\n\n{_measure_table(table, part, plan.stages)}")
    parts.append(f"## Cost\n\n{_cost_table(table, plan.stages)}")
    parts.append(cases)
    parts.append("## Notes\n\n" + "".join(f"- {note}\n" for note in notes))
    return "\n".join(part for part in parts if part)


def _recommender_table(table: pd.DataFrame, recommender: str, plan: AblationPlan) -> str:
    settings = ("catalogue", "zero_shot")
    short = [SHORT[setting] for setting in settings]
    lines = [["profiles", *short, *(f"{name}: over `constant`" for name in short)]]
    for last in ("none", "constant", *plan.stages):
        row = f"{recommender}-{last}"
        values = [_cell(_line(table, row=row, setting=setting, name=_PRIMARY)) for setting in settings]
        twin = f"{recommender}-constant"
        found = [_line(table, twin, row=row, setting=setting, name=_PRIMARY) for setting in settings]
        lines.append([last, *values, *(_cell(line, "+.4f") for line in found)])
    return f"### {recommender}\n\n{markdown_table(lines)}"


def _contrast_table(table: pd.DataFrame, plan: AblationPlan) -> str:
    pairs = plan.pairs()[STAGE_FAMILY]
    if not pairs:
        return ""
    lines = [["stage", "against", "catalogue", "zero-shot"]]
    for first, second in pairs:
        found = [
            _line(table, second, row=first, setting=setting, name=_PRIMARY) for setting in ("catalogue", "zero_shot")
        ]
        lines.append([escape(first), escape(second), *(_cell(line, "+.4f") for line in found)])
    return f"### Stages among themselves\n\n{markdown_table(lines)}"


def _measure_table(table: pd.DataFrame, part: str, stages: Sequence[str]) -> str:
    found = table[table["part"] == part]
    present = [stage for stage in stages if stage in set(found["stage"])]
    lines = [["measure", *present]]
    for name in dict.fromkeys(found["name"]):
        cells = []
        for stage in present:
            value = _line(table, part=part, stage=stage, name=name)
            change = _line(table, RAW, part=part, stage=stage, name=name)
            shown = _cell(value, ".3f")
            cells.append(shown if change is None else f"{shown}<br>change {_cell(change, '+.3f')}")
        lines.append([escape(name), *cells])
    return markdown_table(lines) + "\nMeans over users with 95 % intervals; changes from `raw` are paired by user.\n"


def _cost_table(table: pd.DataFrame, stages: Sequence[str]) -> str:
    found = table[table["part"] == COST]
    names = [name for name in _COSTS if name in set(found["name"])]
    lines = [["stage", *(_COSTS[name] for name in names)]]
    for stage in stages:
        values = [_line(table, part=COST, stage=stage, name=name) for name in names]
        lines.append(
            [stage, *("-" if line is None or np.isnan(line["value"]) else f"{line['value']:,.0f}" for line in values)]
        )
    return markdown_table(lines)


def _line(table: pd.DataFrame, against: str = "", **wanted: str) -> dict[str, Any] | None:
    """The one line of these values, or None."""
    kept = table["against"] == against
    for column, value in wanted.items():
        kept &= table[column] == value
    found = table[kept].to_dict("records")
    return found[0] if found else None


def _cell(line: Mapping[str, Any] | None, form: str = ".4f") -> str:
    if line is None:
        return "-"
    interval = "" if np.isnan(line["low"]) else f" [{line['low']:{form}}, {line['high']:{form}}]"
    shown = f"{number(line['value'], form)}{interval}"
    return f"**{shown} {line['verdict']}**" if line["verdict"] in ("better", "worse") else shown


def families_note(plan: AblationPlan) -> str:
    """What the corrections run over."""
    counts = {family: len(pairs) for family, pairs in plan.pairs().items()}
    also = f", and over {counts[STAGE_FAMILY]} for the question whether a stage does" if counts[STAGE_FAMILY] else ""
    return (
        f"Holm's correction runs over {counts[PROFILE_FAMILY]} pairs in two settings for the question whether profiles "
        f"help{also}."
    )
