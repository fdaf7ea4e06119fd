"""`manifest.json` of a run: inputs, settings, versions, what was opened, what it cost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reclm_hf import __version__
from reclm_hf.data.bundled import bundled_info, bundled_names
from reclm_hf.data.folder import file_sha256, write_json
from reclm_hf.data.splits import Splits
from reclm_hf.profiles.leakage import certify

if TYPE_CHECKING:
    import pandas as pd

    from reclm_hf.data.interactions import Interactions
    from reclm_hf.profiles.leakage import Certificate

RESULTS = "results.parquet"
_OPENED = "by the runner, after one refit with settings chosen on validation"
_PACKAGES = ("torch", "transformers", "numpy", "scipy", "pandas", "pyarrow", "safetensors")


def write_manifest(
    folder: Path,
    splits: Splits,
    profiles: Mapping[str, pd.DataFrame],
    seconds: float,
    options: Any,
    test_opened: bool | str,
    certificates: Sequence[Certificate] | None = None,
    info: Mapping[str, Any] | None = None,
    tables: str | None = None,
) -> dict[str, Any]:
    """Write and return the manifest of a finished run.

    Args:
        test_opened: whether the run looked at targets of the test period, after a refit; or in words, when it did.
        profiles: split name -> the profile table that was used.
        options: a dataclass of settings.
        certificates: of these tables; None: tables named by a split alone are checked here.
        info: the `dataset.json` of the data; None: that of the bundled data of this name, if there are any.
        tables: the Hub repository that the data came from, `org/name@commit`.

    `seconds` and `peak_rss_mib` are of the call that ends here: one that was interrupted before left no record.
    """
    if certificates is None:
        by_name = {split.name: split for split in (splits.validation, splits.test)}
        certificates = [
            certify(table, by_name[name], splits.data.items) for name, table in profiles.items() if name in by_name
        ]
    manifest = {
        **_stated(folder),
        "reclm_hf": __version__,
        "dataset": splits.data.name,
        "fingerprint": splits.fingerprint,
        "cuts": {split.name: split.cut for split in (splits.validation, splits.test)},
        "data": _about(splits.data, info),
        "profiles": {name: profile_summary(table) for name, table in profiles.items()},
        "certificates": [certificate.to_dict() for certificate in certificates],
        "options": asdict(options) if is_dataclass(options) and not isinstance(options, type) else dict(options),
        "versions": _versions(),
        "test_opened": test_opened if isinstance(test_opened, str) else _OPENED if test_opened else "no",
        "seconds": round(seconds, 1),
        "peak_rss_mib": _peak_rss_mib(),
    }
    if tables is not None:
        manifest["tables"] = tables
    if (folder / RESULTS).is_file():  # which results it is of: another command may write its own there later
        manifest["results_sha256"] = file_sha256(folder / RESULTS)
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


def _stated(folder: Path) -> dict[str, Any]:
    """What a recommender that was saved there states of its files, which stays; see `recommender.integrity`."""
    path = folder / "manifest.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {name: found[name] for name in ("format", "kind", "repo_id", "files", "config_sha256") if name in found}


def _about(data: Interactions, info: Mapping[str, Any] | None) -> dict[str, Any]:
    """Sizes of the data, and under which licence they are."""
    if info is None:
        info = bundled_info(data.name) if data.name in bundled_names() else {}
    return {
        "counts": {"users": data.n_users, "items": data.n_items, "interactions": len(data.user)},
        **{name: info[name] for name in ("licence", "attribution") if name in info},
    }


def _peak_rss_mib() -> int:
    """The most memory that one process of the run held."""
    import resource

    processes = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return round(max(resource.getrusage(process).ru_maxrss for process in processes) / 1024)


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
