"""What travels with a recommender for people who have transformers, but not this package: its own code, flat.

transformers copies such files from one folder of a repository and runs them with `trust_remote_code=True`. It finds
the imports of a file with its own search, so the list is made with that very search.
"""

from __future__ import annotations

from pathlib import Path

CONFIGURATION = "configuration_reclm_recommender"
MODELING = "modeling_reclm_recommender"


def code_files() -> list[Path]:
    """The files that configuration and model need, sorted by name; all of them lie in this folder."""
    from transformers.dynamic_module_utils import get_relative_import_files

    folder = Path(__file__).parent
    found = {folder / f"{name}.py" for name in (CONFIGURATION, MODELING)}
    for entry in tuple(found):
        found |= {Path(name) for name in get_relative_import_files(str(entry))}
    return sorted(found)


def auto_map() -> dict[str, str]:
    """What `config.json` has to say under "auto_map" for AutoConfig and AutoModel to find the classes."""
    return {
        "AutoConfig": f"{CONFIGURATION}.RecLMRecommenderConfig",
        "AutoModel": f"{MODELING}.RecLMRecommender",
    }
