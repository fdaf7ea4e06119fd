"""The parts of a score and the evidence for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from reclm_hf.recommender.build import build_recommender
from reclm_hf.recommender.modeling_reclm_recommender import RecLMRecommender
from tests.recommender.models import KINDS, config, data, profiles, trained, untrained


def drawn(backbone: str, preset: str, mode: str, sides: str = "user") -> RecLMRecommender:
    """Weights of all kinds, none of them zero."""
    splits, vectors = data()
    settings = config(backbone, preset, mode)
    settings.profile_sides = sides
    given = (None, None) if mode == "none" else (profiles(), profiles()[::-1].copy())
    model = build_recommender(settings, splits.data, splits.test, vectors, *given)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        if model.shared_fusion is not None:
            model.shared_fusion.fuse.bias.fill_(1.0)  # so that no ReLU hides what is behind it
    return model


@pytest.mark.parametrize(("backbone", "preset", "mode"), KINDS)
def test_the_parts_add_up_to_the_score(backbone: str, preset: str, mode: str) -> None:
    model = drawn(backbone, preset, mode, "both")
    for user, item in (("user-03", "005"), ("user-03", "047"), ("user-08", "006")):
        found = model.explain(user, item)
        assert list(found.parts) == ["id", "text", "profile", "bias"]
        expected = model.score(model.catalog.user_index([user]), model.catalog.item_index([item]))[0, 0]
        assert found.score == pytest.approx(expected, abs=1e-5)
        assert sum(found.parts.values()) == pytest.approx(expected, abs=1e-5)
        assert (found.parts["profile"] != 0) == (mode != "none")
        assert abs(found.parts["text"]) > 1e-4
        has_bias = preset == "floor_residual" or (backbone == "bias_mf" and preset == "standard" and item != "047")
        assert (found.parts["bias"] != 0) == has_bias


def test_the_parts_of_a_sum_are_its_terms() -> None:
    """In `floor_residual` over an inner product without features every part can be written down."""
    model = drawn("bias_mf", "floor_residual", "llm")
    with torch.no_grad():
        for parameter in model.project_text.parameters():
            parameter.zero_()
        assert model.fusion is not None
        for parameter in model.fusion.project.parameters():
            parameter.zero_()
    model.requires_grad_(False)
    state, floors, gain = model.state(), model.floors, model.profile_gain
    assert floors is not None
    assert gain is not None
    assert model.item_bias is not None
    for user, item, warm in ((3, 5, 1), (3, 47, 0)):
        text = float(state.user_text[user] @ state.item_text[item] * floors.cosine[warm])
        head = float(5.0 * state.item_text[item] @ floors.head[warm])
        level = float(state.popularity[item] if warm else state.text_popularity[item] + model.config.cold_offset)
        bias = level + float(model.item_bias.weight[item, 0] * floors.gate[1]) * warm
        parts = model.explain(f"user-{user:02d}", f"{item:03d}").parts
        assert parts["text"] == pytest.approx(text + head, abs=1e-4)
        assert parts["profile"] == pytest.approx(
            float(state.user_profile[user] @ state.item_text[item] * gain[warm]), abs=1e-4
        )
        assert parts["bias"] == pytest.approx(bias, abs=1e-4)
        assert (abs(parts["id"]) > 1e-3) == bool(warm), "a cold item has no ID"


def test_an_untrained_floor_residual_is_its_floors() -> None:
    found = untrained("lightgcn", "floor_residual", "llm").explain("user-02", "048")
    assert found.parts["id"] == found.parts["profile"] == 0
    assert found.parts["text"] > 0, "the text of an item of the own parity speaks for it"


@pytest.mark.parametrize("by", ["model", "text"])
def test_the_evidence_is_the_nearest_of_the_history(by: str) -> None:
    model = trained("bias_mf", "standard", "llm")
    catalog = model.catalog
    found = model.explain("user-04", "046", by=by)
    seen = [catalog.item_ids[item] for item in catalog.seen(4)]
    nearest = model.similar_items(["046"], k=3, by=by, candidates=seen)
    assert [near.item_id for near in found.evidence] == nearest.similar_ids[0]
    assert [near.title for near in found.evidence] == nearest.titles[0]
    np.testing.assert_allclose([near.similarity for near in found.evidence], nearest.similarities[0], atol=1e-5)
    # An item of the history is no evidence for itself.
    assert seen[0] not in [near.item_id for near in model.explain("user-04", seen[0], by=by).evidence]


def test_an_explanation_can_be_read_and_tabulated() -> None:
    found = trained("bias_mf", "standard", "llm").explain("user-04", "046")
    lines = str(found).splitlines()
    assert lines[0].startswith("Title 046 [046] for user-04: score ")
    assert all(f"{part} {value:+.3f}" in lines[0] for part, value in found.parts.items())
    assert len(lines) == 4
    assert f"[{found.evidence[0].item_id}]" in lines[1]
    frame = found.to_frame()
    assert list(frame.columns) == ["user_id", "item_id", "title", "part", "value"]
    assert frame["value"].sum() == pytest.approx(found.score, abs=1e-5)


def test_training_mode_and_unknown_ids() -> None:
    model = untrained("lightgcn", "floor_residual", "llm")
    before = model.explain("user-04", "046")
    model.train()
    assert model.explain("user-04", "046") == before
    assert model.training
    with pytest.raises(KeyError, match="unknown user 'x'"):
        model.explain("x", "046")
    with pytest.raises(KeyError, match="unknown item 'x'"):
        model.explain("user-04", "x")
    with pytest.raises(ValueError, match="by='cover'"):
        model.explain("user-04", "046", by="cover")
