"""`manifest.json` of a run: inputs, settings, versions, what was opened, what it cost."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reclm_hf import __version__
from reclm_hf.data.folder import write_json
from reclm_hf.data.splits import Splits

if TYPE_CHECKING:
    import pandas as pd

_PACKAGES = ("torch", "transformers", "numpy", "scipy", "pandas", "pyarrow", "safetensors")


def write_manifest(
    folder: Path, splits: Splits, profiles: Mapping[str, pd.DataFrame], seconds: float, options: Any, test_opened: bool
) -> dict[str, Any]:
    """Write and return the manifest of a finished run.

    Args:
        test_opened: whether the run looked at targets of the test period.
        profiles: split name -> the profile table that was used.
        options: a dataclass of settings.
    """
    manifest = {
        "reclm_hf": __version__,
        "dataset": splits.data.name,
        "fingerprint": splits.fingerprint,
        "cuts": {split.name: split.cut for split in (splits.validation, splits.test)},
        "profiles": {name: profile_summary(table) for name, table in profiles.items()},
        "options": asdict(options) if is_dataclass(options) and not isinstance(options, type) else dict(options),
        "versions": _versions(),
        "test_opened": "by the runner, after one refit with settings chosen on validation" if test_opened else "no",
        "seconds": round(seconds, 1),
    }
    write_json(manifest, folder / "manifest.json")
    return manifest


def profile_summary(table: pd.DataFrame) -> dict[str, Any]:
    """Lineage of a profile table in a few figures."""
    written = table["input_hash"].fillna("") + table["profile"].fillna("")
    return {
        "rows": len(table),
        "generator": sorted(table["generator"].unique()),
        "prompt_version": sorted(table["prompt_version"].unique()),
        "as_of": str(table["as_of"].max()),
        "sha256": hashlib.sha256("\n".join(written).encode()).hexdigest(),
        "well_formed": float((table["format_score"] == 1).mean()),
        "distinct": float(table["profile"].nunique() / max(len(table), 1)),
        "tokens_in": int(table["tokens_in"].sum()),
        "tokens_out": int(table["tokens_out"].sum()),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
