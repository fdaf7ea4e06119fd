"""A planted reward is found, and noise is not followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from reclm_hf.tuning.policies.groups import refine_group
from tests.tuning.group_parts import Planted, parts, prompts, settings, share


@pytest.mark.parametrize("shuffled", [False, True], ids=["planted", "shuffled"])
@pytest.mark.parametrize("algorithm", ["rloo", "grpo"])
def test_replies_begin_as_rewarded(algorithm: str, shuffled: bool, tmp_path: Path) -> None:
    model, reward = parts(), Planted(shuffled)
    before = share(model.model)
    args = settings(tmp_path, algorithm=algorithm)
    result = refine_group(args, model, prompts(), [reward], None, tmp_path, False)
    after = share(result.model)
    assert before < 0.2
    if shuffled:
        assert after < 0.3, (before, after)
    else:
        assert after > 0.8, (before, after)
    assert result.stopped_by is None
    assert 1 < sum(reward.lengths) / len(reward.lengths) < args.response_length - 4, "most replies end by themselves"
    cut = [entry["completions/clipped_ratio"] for entry in result.log_history if "reward" in entry]
    assert max(cut) > 0, "some are cut and pay for it"
