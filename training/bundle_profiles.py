"""Ship the profiles that `reclm profiles build` wrote: `python training/bundle_profiles.py runs/NAME/profiles`.

Checks the tables of users and of items against their cuts, copies them beside the bundled tables, and writes their
lineage and checksums into `dataset.json`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from reclm_hf.data.bundled import DEFAULT, bundled_folder, bundled_info, bundled_splits
from reclm_hf.data.folder import file_sha256, write_json
from reclm_hf.data.tables import ITEM_PROFILE_COLUMNS, PROFILE_COLUMNS, read_parquet, write_parquet
from reclm_hf.pipeline.manifest import profile_summary
from reclm_hf.profiles.leakage import certify, certify_items


def bundle(source: Path, name: str = DEFAULT) -> dict[str, dict[str, dict[str, object]]]:
    """Copy the four profile tables into the bundle `name`; returns their lineage by side and cut."""
    folder, info, splits = bundled_folder(name), bundled_info(name), bundled_splits(name)
    lineage: dict[str, dict[str, dict[str, object]]] = {}
    for key, side, columns, check in (
        ("profiles", "user", PROFILE_COLUMNS, certify),
        ("item_profiles", "item", ITEM_PROFILE_COLUMNS, certify_items),
    ):
        lineage[key] = {}
        for split in (splits.validation, splits.test):
            table = read_parquet(source / split.name / f"{side}_profiles.parquet")
            check(table, split, splits.data.items).require()
            target = folder / f"{side}_profiles-{split.name}.parquet"
            write_parquet(table, target, columns)
            lineage[key][split.name] = profile_summary(table)
            info["sha256"][target.name] = file_sha256(target)
    info |= lineage
    write_json(info, folder / "dataset.json")
    return lineage


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
