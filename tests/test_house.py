"""House rules that a linter does not know."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

LONGEST = 350


def test_no_file_is_too_long(repository: Path) -> None:
    files = [path for folder in ("reclm_hf", "training") for path in (repository / folder).rglob("*.py")]
    lengths = {path.relative_to(repository): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert lengths
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}


def test_no_pickle(repository: Path) -> None:
    """Weights and tables travel as safetensors and Parquet: loading them can run nothing."""
    for path in (repository / "reclm_hf").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        for forbidden in ("import pickle", "from pickle", "torch.save(", "allow_pickle=True", "weights_only=False"):
            if forbidden == "from pickle" and path.name == "restricted_pickle.py":
                continue  # the reader that lets a pickle name nothing but inert classes of its own
            assert forbidden not in text, f"{path.relative_to(repository)}: {forbidden}"


def test_constraints_satisfy_what_is_asked_for(repository: Path) -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    lines = (repository / "constraints.txt").read_text(encoding="utf-8").splitlines()
    tested = {
        canonicalize_name(line.split("==")[0]): line.split("==")[1]
        for line in lines
        if line and not line.startswith("#")
    }
    for requirement in map(Requirement, asked):
        version = tested.get(canonicalize_name(requirement.name))
        if version is not None:
            assert requirement.specifier.contains(version), f"{requirement} excludes the tested {version}"
    core = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    assert core <= set(tested), "every dependency has a tested version"


@pytest.mark.parametrize("name", ["py.typed", "data/bundled_tables/movietweetings-100k-u10/LICENSE.txt"])
def test_package_data_is_there(repository: Path, name: str) -> None:
    assert (repository / "reclm_hf" / name).is_file()
