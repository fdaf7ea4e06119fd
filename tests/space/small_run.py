"""A run as `reclm demo` leaves it, on the checkerboard: data of its own, profiles, the shown recommender, results."""

from __future__ import annotations

from pathlib import Path

from reclm_hf.data.folder import write_json
from reclm_hf.data.splits import Splits
from reclm_hf.profiles.leakage import certify
from tests.hub.artefacts import results
from tests.hub.small_tables import user_profiles, write_data, write_profiles
from tests.recommender.models import untrained

SHOWN = "lightgcn-floor_residual-llm"


def write_run(folder: Path) -> Splits:
    """Write the run; its data and profiles (`validation/`, `test/`) lie in the run's own folder."""
    splits = write_data(folder)
    write_profiles(splits, folder)
    write_model(folder / "models" / SHOWN / "model")
    spec = {"backbone": "lightgcn", "preset": "floor_residual", "profile_mode": "llm", "seed": 0}
    write_json({"spec": spec, "seconds": 3.5, "best_epoch": 4}, folder / "models" / SHOWN / "done.json")
    write_results(folder, splits)
    certificate = certify(user_profiles(splits.test), splits.test, splits.data.items)
    manifest = {
        "dataset": splits.data.name,
        "fingerprint": splits.fingerprint,
        "data": {"licence": "CC BY 4.0", "attribution": "the squares"},
        "certificates": [certificate.to_dict()],
        "options": {"seed": 0, "everything": False},
    }
    write_json(manifest, folder / "manifest.json")
    return splits


def write_model(folder: Path) -> Path:
    """A recommender that reads profiles, with the catalogue of the checkerboard."""
    untrained("lightgcn", "floor_residual", "llm").save_pretrained(folder)
    return folder


def write_results(folder: Path, splits: Splits) -> None:
    """Tables of results on these data; comparisons with one row."""
    table = results(SHOWN).assign(dataset=splits.data.name, fingerprint=splits.fingerprint)
    table.to_parquet(folder / "results.parquet")
    table.head(1).assign(verdict="no difference").to_parquet(folder / "comparisons.parquet")
