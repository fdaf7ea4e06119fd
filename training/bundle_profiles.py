"""Ship the profiles that `reclm profiles build` wrote: `python training/bundle_profiles.py runs/NAME/profiles`.

Checks the tables of users and of items against their cuts, copies them beside the bundled tables, and writes their
lineage and checksums into `dataset.json`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reclm_hf.data.bundled import DEFAULT, bundled_folder, bundled_info, bundled_splits
from reclm_hf.data.folder import file_sha256, write_json
from reclm_hf.data.profile_tables import read_profiles
from reclm_hf.data.tables import ITEM_PROFILE_COLUMNS, PROFILE_COLUMNS, write_parquet
from reclm_hf.pipeline.manifest import profile_summary
from reclm_hf.profiles.leakage import certify, certify_items

if TYPE_CHECKING:
    import pandas as pd


def bundle(source: Path, name: str = DEFAULT) -> dict[str, dict[str, dict[str, object]]]:
    """Copy the profile tables of users, and of items where there are some; returns their lineage by side and cut."""
    folder, info, splits = bundled_folder(name), bundled_info(name), bundled_splits(name)
    lineage: dict[str, dict[str, dict[str, object]]] = {"profiles": {}, "item_profiles": {}}
    for split in (splits.validation, splits.test):
        users = read_profiles(source / split.name / "user_profiles.parquet", "user")
        certify(users, split, splits.data.items).require()
        _keep(users, "user", PROFILE_COLUMNS, split.name, folder, info, lineage["profiles"])
        path = source / split.name / "item_profiles.parquet"
        if path.is_file():
            items = read_profiles(path, "item")
            certify_items(items, split, splits.data.items, users).require()
            _keep(items, "item", ITEM_PROFILE_COLUMNS, split.name, folder, info, lineage["item_profiles"])
    info |= lineage
    write_json(info, folder / "dataset.json")
    return lineage


def _keep(
    table: pd.DataFrame,
    side: str,
    columns: dict[str, str],
    cut: str,
    folder: Path,
    info: dict[str, Any],
    lineage: dict[str, dict[str, object]],
) -> None:
    target = folder / f"{side}_profiles-{cut}.parquet"
    write_parquet(table, target, columns)
    lineage[cut] = profile_summary(table)
    info["sha256"][target.name] = file_sha256(target)


def main() -> None:
    """Bundle and say what was bundled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="output folder of `reclm profiles build`")
    for key, tables in bundle(parser.parse_args().source).items():
        for cut, summary in tables.items():
            print(
                f"{key}, {cut}: {summary['rows']}, {summary['well_formed']:.1%} well-formed, as of {summary['as_of']}"
            )


if __name__ == "__main__":
    main()
