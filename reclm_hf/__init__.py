"""Leak-free LLM profiles of users and items for any collaborative-filtering backbone, judged beside honest floors.

Names are imported on first use: a bare `import reclm_hf` loads neither torch nor pandas. Touching a model class
registers it with transformers' Auto classes, as `import reclm_hf.auto` does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .data.load import load_interactions, load_splits
    from .data.splits import temporal_split
    from .evaluation.protocol import evaluate
    from .profiler.configuration_reclm_profiler import RecLMProfilerConfig
    from .profiler.modeling_reclm_profiler import RecLMProfiler
    from .profiles.generate import generate_user_profiles
    from .profiles.item_profiles import generate_item_profiles
    from .recommender.configuration_reclm_recommender import RecLMRecommenderConfig
    from .recommender.modeling_reclm_recommender import RecLMRecommender
    from .recommender.text_encoder import TextEncoder
    from .recommender.what_if import Someone

_HOMES = {
    "RecLMProfiler": "profiler.modeling_reclm_profiler",
    "RecLMProfilerConfig": "profiler.configuration_reclm_profiler",
    "RecLMRecommender": "recommender.modeling_reclm_recommender",
    "RecLMRecommenderConfig": "recommender.configuration_reclm_recommender",
    "Someone": "recommender.what_if",
    "TextEncoder": "recommender.text_encoder",
    "evaluate": "evaluation.protocol",
    "generate_item_profiles": "profiles.item_profiles",
    "generate_user_profiles": "profiles.generate",
    "load_interactions": "data.load",
    "load_splits": "data.load",
    "temporal_split": "data.splits",
}
_REGISTERED = {"RecLMRecommender", "RecLMRecommenderConfig"}

__all__ = [
    "RecLMProfiler",
    "RecLMProfilerConfig",
    "RecLMRecommender",
    "RecLMRecommenderConfig",
    "Someone",
    "TextEncoder",
    "__version__",
    "evaluate",
    "generate_item_profiles",
    "generate_user_profiles",
    "load_interactions",
    "load_splits",
    "temporal_split",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _REGISTERED:
        import_module(".auto", __name__)
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
