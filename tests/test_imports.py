"""Imports point one way (the design's section 1), read from the source itself."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import reclm_hf

PACKAGE = Path(reclm_hf.__file__).parent
EVERYTHING = {"*"}
# Part -> parts (or single modules) that it may import, beside itself and the leaves `bundles` and `whole_models`.
MAY_IMPORT: dict[str, set[str]] = {
    "bundles": set(),
    "whole_models": set(),
    "data": set(),
    "recommender": {"data"},
    "baselines": {"data", "recommender.catalog"},
    "evaluation": {"data", "recommender", "baselines"},
    "profiles": {"data", "recommender.text_encoder"},
    "profiler": {"data", "profiles", "recommender.text_encoder"},
    "tuning": {"data", "profiles", "profiler", "recommender.text_encoder"},
    "auto": {"recommender"},
    "hub": EVERYTHING,
    "pipeline": EVERYTHING,
    "report": EVERYTHING,
    "space": EVERYTHING,
    "commands": EVERYTHING,
}
UPPERMOST = {"hub", "pipeline", "report", "space", "commands"}


def imported_modules(path: Path, module: str) -> Iterator[str]:
    """Absolute names of everything that a source file imports, wherever in the file it stands."""
    yield from imports_of(ast.parse(path.read_text(encoding="utf-8")), module, path.name)


def imports_of(tree: ast.Module, module: str, file: str) -> Iterator[str]:
    """The same for a parsed file of a given module."""
    package = module if file == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = package.split(".")
            base = ".".join(parent[: len(parent) - node.level + 1]) if node.level else ""
            origin = ".".join(filter(None, [base, node.module]))
            # `from ..recommender import catalog` imports a module, `from ..catalog import Catalog` a name.
            for alias in node.names:
                name = f"{origin}.{alias.name}"
                yield name if is_module(name) else origin


def is_module(name: str) -> bool:
    """Whether a dotted name of ours is a file or a folder."""
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or path.is_dir()


def module_name(path: Path) -> str:
    """The dotted name of a source file."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def violations(path: Path, module: str) -> list[str]:
    """The imports of one file that the rules forbid."""
    part = module.split(".")[1]
    allowed = MAY_IMPORT[part] | {part, "bundles", "whole_models"}
    found = []
    for name in imported_modules(path, module):
        root, _, inner = name.partition(".")
        if root in {"training", "spaces", "tests"}:
            found.append(f"{module} imports {name}")
        if root != "reclm_hf" or not inner or allowed & EVERYTHING:
            continue
        if not any(inner == way or inner.startswith(f"{way}.") for way in allowed):
            found.append(f"{module} imports {name}")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    assert violations(path, module_name(path)) == []


def test_every_part_has_a_rule() -> None:
    parts = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in SOURCES}
    assert parts <= set(MAY_IMPORT), "write down what the new part may import"


def test_the_uppermost_parts_are_imported_by_nobody_below() -> None:
    for part, allowed in MAY_IMPORT.items():
        assert part in UPPERMOST or not allowed & (UPPERMOST | EVERYTHING)


def test_the_rules_see_a_violation(tmp_path: Path) -> None:
    source = tmp_path / "tables.py"
    for line in ("from ..recommender import catalog", "from reclm_hf.commands import main", "import training.build"):
        source.write_text(f"def f():\n    {line}\n")
        assert violations(source, "reclm_hf.data.tables"), line
    source.write_text("from ..recommender.fusion import ProfileFusion\n")
    assert violations(source, "reclm_hf.baselines.text")
    source.write_text("from ..recommender.catalog import Catalog\nfrom ..bundles import resolve_model\n")
    assert violations(source, "reclm_hf.baselines.text") == []


def outside_of_try(tree: ast.Module) -> ast.Module:
    """The tree without `try` statements."""

    class Prune(ast.NodeTransformer):
        def visit_Try(self, node: ast.Try) -> None:
            return None

    return Prune().visit(tree)


def test_model_files_import_only_their_siblings() -> None:
    """transformers copies same-folder files to the Hub with custom code, and refuses code with absent imports.

    It finds relative imports by a regular expression, inside functions and under TYPE_CHECKING as well, so all must be
    siblings. An absolute import of ours would make it refuse the code where reclm_hf is not installed; the leaf
    `bundles` is allowed inside `try`, which it skips.
    """
    folder = PACKAGE / "recommender"
    pending = [folder / "modeling_reclm_recommender.py", folder / "configuration_reclm_recommender.py"]
    seen: set[Path] = set()
    while pending:
        path = pending.pop()
        if path in seen:
            continue
        seen.add(path)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        required = set(imports_of(outside_of_try(tree), module_name(path), path.name))  # prunes the tree itself
        for name in imported_modules(path, module_name(path)):
            if name.startswith("reclm_hf.recommender."):
                pending.append(folder / f"{name.split('.')[2]}.py")
            elif name.split(".")[0] == "reclm_hf":
                assert name.startswith("reclm_hf.bundles"), f"{path.name} imports {name}"
                assert name not in required, f"{path.name}: import {name} inside try, with a way out for ImportError"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("reclm_hf.recommender"):
                pytest.fail(f"{path.name}: {node.module} must be imported relatively")
    assert len(seen) > 2


@pytest.mark.parametrize("name", reclm_hf.__all__)
def test_public_names_resolve(name: str) -> None:
    assert getattr(reclm_hf, name) is not None


def test_public_names_are_few_and_listed() -> None:
    assert len(reclm_hf.__all__) <= 15
    assert set(dir(reclm_hf)) == set(reclm_hf.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Recommender'"):
        _ = reclm_hf.Recommender


def test_touching_a_model_class_registers_it(child_environment: dict[str, str]) -> None:
    program = "import reclm_hf, sys; reclm_hf.RecLMRecommenderConfig; assert 'reclm_hf.auto' in sys.modules"
    subprocess.run([sys.executable, "-c", program], env=child_environment, check=True, timeout=120)
