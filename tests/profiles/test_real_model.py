"""The real small model writes profiles that fit their histories."""

from __future__ import annotations

import pytest

from reclm_hf.bundles import BundleError
from reclm_hf.profiles.engine_transformers import TransformersEngine
from reclm_hf.profiles.engines import DEFAULT_MODEL, ProfileRequest
from reclm_hf.profiles.profile import parse, well_formed
from reclm_hf.profiles.prompts import EXAMPLES, ItemLine, user_message

TASTES = {
    "horror": ["Insidious (2010)", "Evil Dead (2013)", "The Conjuring (2013)", "Sinister (2012)", "The Ring (2002)"],
    "sci-fi": ["Oblivion (2013)", "Star Trek (2009)", "Prometheus (2012)", "Gattaca (1997)", "Looper (2012)"],
    "romance": ["The Vow (2012)", "Dear John (2010)", "The Notebook (2004)", "Safe Haven (2013)", "Titanic (1997)"],
    "western": ["Unforgiven (1992)", "Django (1966)", "True Grit (2010)", "Rio Bravo (1959)", "Shane (1953)"],
}


@pytest.mark.slow
def test_four_users_with_clear_tastes():
    try:
        engine = TransformersEngine.from_model_id()
    except BundleError as error:
        pytest.skip(f"{DEFAULT_MODEL} is not at hand: {error}")
    requests = [
        ProfileRequest(taste, EXAMPLES, (user_message([ItemLine(title, (taste, "Drama")) for title in titles], []),))
        for taste, titles in TASTES.items()
    ]
    texts = [result.text for result in engine.generate(requests)]
    assert all(well_formed(text) for text in texts), texts
    assert len(set(texts)) == len(texts)
    words = " ".join(message["content"] for message in EXAMPLES).casefold().split()
    shown = {tuple(words[start : start + 6]) for start in range(len(words))}
    for taste, text in zip(TASTES, texts, strict=True):
        profile = parse(text)
        written = " ".join([*profile.identities, *profile.interests]).casefold()
        assert taste in written or taste.replace("-", " ") in written or taste[:5] in written, text
        found = written.split()
        assert not {tuple(found[start : start + 6]) for start in range(len(found) - 5)} & shown
    assert "dequantised" in engine.generator or "@" in engine.generator
