from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from reclm_hf.data.splits import Split, make_split
from reclm_hf.profiles.evidence import histories
from reclm_hf.profiles.profile import Profile, format_score, render
from reclm_hf.tuning.rewards.verifiable import VerifiableReward, Weights, held_back, reply_text

TOPICS = ("jazz", "maps", "trains", "lakes", "chess", "bread", "kites", "stars")
PER_TOPIC = 9
LATE = 72  # first item row that nobody has before the cut: one for each topic
DIM = 16


class Words:
    """Texts as the sum of their topics' directions and one that all texts share; counts what it encodes."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.calls = 0

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.calls += 1
        self.seen += texts
        return np.stack([direction([topic for topic in TOPICS if topic in text]) for text in texts])


def direction(topics: Sequence[str], common: float = 3.0) -> np.ndarray:
    vector = np.zeros(DIM)
    vector[DIM - 1] = common
    for topic in topics:
        vector[TOPICS.index(topic)] += 1.0
    return vector / np.linalg.norm(vector)


def item_vectors() -> np.ndarray:
    rng = np.random.default_rng(0)
    topics = [topic for topic in TOPICS for _ in range(PER_TOPIC)] + list(TOPICS)
    return np.stack([direction([topic], 2.0) for topic in topics]) + 0.02 * rng.standard_normal((len(topics), DIM))


def tastes(user: int) -> list[str]:
    """Three topics of a user; the next user shares two of them."""
    return [TOPICS[(user + step) % len(TOPICS)] for step in range(3)]


def split() -> tuple[Split, np.ndarray]:
    """Eight users of 15 items, five of each of three topics, and their neighbours: the one before and the one after."""
    user, item = [], []
    for step in range(5):
        for person in range(8):
            for topic in tastes(person):
                user.append(person)
                item.append(TOPICS.index(topic) * PER_TOPIC + (step + person) % PER_TOPIC)
    history = np.arange(len(user) + 8) < len(user)
    rows = (np.array([*user, *range(8)], dtype=np.int32), np.array([*item, *range(LATE, LATE + 8)], dtype=np.int32))
    ids = (np.array([f"u{n}" for n in range(8)]), np.array([f"i{n}" for n in range(LATE + 8)]))
    times = np.arange(len(history), dtype=np.int64)
    neighbors = np.array([[(n - 1) % 8, (n + 1) % 8] for n in range(8)], dtype=np.int32)
    return make_split(ids, (*rows, times), history, ~history, "validation", len(user)), neighbors


def text(topics: Sequence[str]) -> str:
    fans, talks = ([f"{topic} {kind} {n}th" for n, topic in enumerate(topics)] for kind in ("fan", "talk"))
    return render(Profile(tuple(fans), tuple(talks)))


REFERENCES = [text(tastes(user)) for user in range(8)]


def reward(**options: object) -> VerifiableReward:
    part, neighbors = split()
    settings: dict[str, object] = {"references": REFERENCES, "clusters": 8} | options
    return VerifiableReward(part, item_vectors(), neighbors, Words(), **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("user", range(8))
def test_the_own_profile_beats_a_neighbors_and_an_over_smoothed_one(user: int) -> None:
    over_smoothed = [tastes(user - 1)[0], tastes(user)[1], tastes(user + 1)[2]]
    texts = [text(tastes(user)), text(tastes(user + 1)), text(over_smoothed), text(tastes(user + 4))]
    found = reward().parts(texts, [f"u{user}"] * 4)
    assert (np.diff(found["similarity"])[:2] < -0.1).all()
    assert (found["total"][1:] < found["total"][0] - 0.1).all(), "a stranger's too"
    assert (found["format"] == 1.0).all()


def test_what_only_neighbors_chose_is_subtracted_by_its_contrast() -> None:
    part, neighbors = split()
    alone = VerifiableReward(part, item_vectors(), np.full_like(neighbors, -1), Words(), references=REFERENCES)
    theirs = [text([tastes(7)[0], tastes(1)[2], tastes(1)[2]])]
    none, half, full = (reward(contrast=value).parts(theirs, ["u0"])["similarity"][0] for value in (0.0, 0.5, 1.0))
    assert none == alone.parts(theirs, ["u0"])["similarity"][0]
    assert full < half - 0.05 < none - 0.1
    with pytest.raises(ValueError, match="contrast"):
        reward(contrast=1.5)


def test_diversity_is_the_share_of_the_historys_clusters_that_interests_are_nearest_to() -> None:
    one, two, three, none = (["jazz"] * 3, ["jazz", "jazz", "maps"], ["jazz", "maps", "trains"], ["stars"] * 3)
    found = reward().parts([text(part) for part in (one, two, three, none)], ["u0"] * 4)
    np.testing.assert_allclose(found["diversity"], [1 / 3, 2 / 3, 1.0, 0.0])


def test_malformed_texts_get_the_format_part_only_and_less_than_any_well_formed_one() -> None:
    part = reward()
    worst = part.parts([text(["stars", "kites", "bread"])], ["u0"])["total"][0]
    broken = [
        "",
        "   ",
        "User identity: jazz fan",
        text(tastes(0)) + " And so on.",
        text(tastes(0)[:2]),
        "I like jazz.",
    ]
    found = part.parts(broken, ["u0"] * len(broken))
    assert not np.stack([found["similarity"], found["diversity"]]).any()
    np.testing.assert_allclose(found["total"], [0.5 * format_score(name) for name in broken])
    assert found["total"].max() < worst
    assert found["total"][:2].tolist() == [0.0, 0.0]


def test_the_total_is_the_weighted_sum_and_lies_between_nothing_and_all_weights() -> None:
    weights = Weights(similarity=2.0, format=0.25, diversity=1.5)
    found = reward(weights=weights).parts([text(tastes(n)) for n in range(8)], ["u3"] * 8)
    wanted = 2.0 * found["similarity"] + 0.25 * found["format"] + 1.5 * found["diversity"]
    np.testing.assert_allclose(found["total"], wanted)
    assert np.clip(found["total"], 0, 3.75).tolist() == found["total"].tolist()


@pytest.mark.parametrize("values", [{"similarity": -1.0}, {"similarity": 0.0, "format": 0.0, "diversity": 0.0}])
def test_weights_that_reward_nothing_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="weights of 0 or more"):
        Weights(**values)


def test_no_item_after_the_cut_is_ever_read() -> None:
    part, neighbors = split()
    vectors = item_vectors()
    texts, users = [text(tastes(n)) for n in range(8)], [f"u{n}" for n in range(8)]
    before = reward().parts(texts, users)["total"]
    vectors[LATE:] = np.nan
    moved = replace(part, target_item=part.target_item[::-1].copy(), cold=np.zeros_like(part.cold))
    after = VerifiableReward(moved, vectors, neighbors, Words(), references=REFERENCES, clusters=8)
    assert after.parts(texts, users)["total"].tolist() == before.tolist()
    assert max(item for items in held_back(part) for item in items) < LATE


def test_held_back_are_older_items_than_a_prompt_shows() -> None:
    part, _ = split()
    for known, kept in zip(histories(part), held_back(part, shown=10), strict=True):
        assert kept == known[10:15]
        assert len(kept) == 5


def test_of_a_short_history_a_seeded_share_is_held_back_and_never_nothing() -> None:
    part, _ = split()
    known = histories(part)
    drawn = held_back(part, shown=14, seed=3)
    assert all(0 < len(kept) <= 15 and set(kept) <= set(own) for kept, own in zip(drawn, known, strict=True))
    assert 0.3 < np.mean([len(kept) / 15 for kept in drawn]) < 0.7
    assert drawn == held_back(part, shown=14, seed=3) != held_back(part, shown=14, seed=4)
    assert [len(kept) for kept in held_back(part, shown=15, share=0.0)] == [1] * 8


def test_it_is_called_as_trl_calls_a_reward_function() -> None:
    part = reward()
    texts, users = [text(tastes(0)), "nothing"], ["u0", "u1"]
    chats = [[{"role": "assistant", "content": said}] for said in texts]
    logged: dict[str, float] = {}
    found = part(completions=chats, user_id=users, prompts=None, trainer_state=None, log_metric=logged.__setitem__)
    assert found == part(completions=texts, user_id=users) == part.parts(texts, users)["total"].tolist()
    assert [type(value) for value in found] == [float, float]
    assert set(logged) == {"verifiable/similarity", "verifiable/format", "verifiable/diversity"}
    assert logged["verifiable/format"] == 0.5
    assert reply_text(chats[0]) == texts[0]


def test_of_a_dialogues_reply_only_what_is_said_of_the_person_counts() -> None:
    part = reward()
    own, other = text(tastes(0)), text(tastes(4))
    alone = part(completions=[own], user_id=["u0"])
    told = [f"The person: {own}", f"The person: {own}\nSimilar person 1: {other}", f"{own}\nSimilar person 1: Use"]
    assert part(completions=told, user_id=["u0"] * 3) == alone * 3
    assert part(completions=[f"The person: {other}\nSimilar person 1: {own}"], user_id=["u0"]) < alone


def test_every_text_is_encoded_once_and_all_new_ones_together() -> None:
    encoder = Words()
    part, neighbors = split()
    made = VerifiableReward(part, item_vectors(), neighbors, encoder, references=REFERENCES[:2])
    calls = encoder.calls
    texts = [text(tastes(n)) for n in (4, 5, 4)]
    made.parts(texts, ["u0", "u1", "u2"])
    assert encoder.calls == calls + 1
    made.parts(texts, ["u3", "u4", "u5"])
    assert encoder.calls == calls + 1
    assert len(encoder.seen) == len(set(encoder.seen))


def test_users_and_tables_that_do_not_fit_are_named() -> None:
    part, neighbors = split()
    with pytest.raises(KeyError, match="stranger"):
        reward().parts([text(tastes(0))], ["stranger"])
    with pytest.raises(ValueError, match="one each"):
        VerifiableReward(part, item_vectors()[:-1], neighbors, Words())
    spoiled = item_vectors()
    spoiled[0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        VerifiableReward(part, spoiled, neighbors, Words())


def test_without_references_it_still_tells_the_owner() -> None:
    found = reward(references=()).parts([text(tastes(0)), text(tastes(4))], ["u0", "u0"])
    assert found["total"][0] > found["total"][1]
