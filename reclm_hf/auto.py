"""Importing this module registers the recommender with transformers' Auto classes."""

from __future__ import annotations

from transformers import AutoConfig, AutoModel

from .recommender.configuration_reclm_recommender import RecLMRecommenderConfig
from .recommender.modeling_reclm_recommender import RecLMRecommender

AutoConfig.register(RecLMRecommenderConfig.model_type, RecLMRecommenderConfig, exist_ok=True)
AutoModel.register(RecLMRecommenderConfig, RecLMRecommender, exist_ok=True)
