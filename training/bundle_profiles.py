"""Ship the profiles that `reclm profiles build` wrote: `python training/bundle_profiles.py runs/NAME/profiles`.

Checks both tables against their cuts, copies them beside the bundled tables, and writes their lineage and checksums
into `dataset.json`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from reclm_hf.data.bundled import DEFAULT, bundled_folder, bundled_info, bundled_splits
from reclm_hf.data.folder import file_sha256, write_json
from reclm_hf.data.tables import PROFILE_COLUMNS, read_parquet, write_parquet
from reclm_hf.pipeline.manifest import profile_summary
from reclm_hf.profiles.leakage import certify


def bundle(source: Path, name: str = DEFAULT) -> dict[str, dict[str, object]]:
    """Copy both profile tables into the bundle `name`; returns their lineage by cut."""
    folder, info, splits = bundled_folder(name), bundled_info(name), bundled_splits(name)
    lineage = {}
    for split in (splits.validation, splits.test):
        table = read_parquet(source / split.name / "user_profiles.parquet")
        certify(table, split, splits.data.items).require()
        target = folder / f"user_profiles-{split.name}.parquet"
        write_parquet(table, target, PROFILE_COLUMNS)
        lineage[split.name] = profile_summary(table)
        info["sha256"][target.name] = file_sha256(target)
    info["profiles"] = lineage
    write_json(info, folder / "dataset.json")
    return lineage


def main() -> None:
    """Bundle and say what was bundled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="output folder of `reclm profiles build`")
    for cut, summary in bundle(parser.parse_args().source).items():
        print(f"{cut}: {summary['rows']} profiles, {summary['well_formed']:.1%} well-formed, as of {summary['as_of']}")


if __name__ == "__main__":
    main()
