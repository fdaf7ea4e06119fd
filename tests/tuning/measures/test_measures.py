from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from reclm_hf.data.splits import Split
from reclm_hf.data.tables import TableError
from reclm_hf.profiles.prompts import ItemLine, user_message
from reclm_hf.tuning.measures.clusters import TextClusters, coverage
from reclm_hf.tuning.measures.compare import MEASURE_COLUMNS, Measured, compare, measure_lines
from reclm_hf.tuning.measures.free_text import request_messages, write_free
from reclm_hf.tuning.measures.measures import PROFILE_MEASURES, Reference, distinct_words, free_watch, measure_profiles
from tests.profiler.models import base_model, lean_towards_words, tokenizer
from tests.profiles.tiny import request

TOPICS = ("amber", "birch", "cedar", "dune", "ember", "fjord", "grove", "heath")
EACH = 6  # items of a topic
N_USERS = 48


class TopicEncoder:
    """A direction for each topic, their sum for a text with several, and a little of each text's own."""

    dimension = 32

    def encode(self, texts: list[str]) -> np.ndarray:
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            vectors[row, :3] = 1.0  # what all texts have in common
            for number, topic in enumerate(TOPICS):
                vectors[row, 3 + number] = text.count(topic)
            own = np.random.default_rng(list(text.encode())).standard_normal(self.dimension)
            vectors[row] += 0.02 * own
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def topics_of(user: int) -> tuple[str, str, str]:
    """Three topics of a user; users u and u + 1 (u even) are alike in two of them."""
    pair = user // 2
    return TOPICS[pair % 8], TOPICS[(pair + 1 + pair // 8) % 8], TOPICS[(pair + 4 + user % 2) % 8]


def planted() -> tuple[Split, Reference, np.ndarray]:
    """Users who chose three items of each of their topics; all profiles that match, as text."""
    item_texts = [f"{topic} number {row}" for topic in TOPICS for row in range(EACH)]
    rng = np.random.default_rng(0)
    user, item = [], []
    for number in range(N_USERS):
        for topic in topics_of(number):
            user += [number] * 3
            item += (TOPICS.index(topic) * EACH + rng.choice(EACH, 3, replace=False)).tolist()
    split = Split(
        name="validation",
        cut=None,
        user_ids=np.array([f"u{row:02d}" for row in range(N_USERS)]),
        item_ids=np.array([f"i{row:02d}" for row in range(len(item_texts))]),
        history_user=np.array(user, dtype=np.int32),
        history_item=np.array(item, dtype=np.int32),
        history_time=None,
        target_user=np.array([0], dtype=np.int32),
        target_item=np.array([0], dtype=np.int32),
        warm=np.isin(np.arange(len(item_texts)), item),
        cold=np.zeros(len(item_texts), dtype=bool),
        users_without_history=0,
    )
    encoder = TopicEncoder()
    vectors = encoder.encode(item_texts)
    own = np.array([row ^ 1 for row in range(N_USERS)])[:, None].astype(np.int32)
    table = pd.DataFrame({"user_id": split.user_ids, "profile": [profile_of(row) for row in range(N_USERS)]})
    return split, Reference.of(split, vectors, table, own, encoder, len(TOPICS)), np.arange(N_USERS)


def profile_of(user: int, topics: tuple[str, ...] | None = None) -> str:
    a, b, c = topics or topics_of(user)
    name = f"{chr(97 + user % 26)}{chr(97 + user // 26)}"
    return (
        f"User identity: {a} fan {name}, {b} reader {name}, {c} lover {name}; "
        f"User interests: {a} walks {name}, {b} maps {name}, {c} songs {name}"
    )


SAME = "User identity: amber fan, night owl, tea drinker; User interests: amber walks, long naps, cold tea"


def test_profiles_of_the_own_taste_score_high_and_equal_ones_low() -> None:
    _, reference, users = planted()
    good = measure_profiles([profile_of(user) for user in users], users, reference)
    bad = measure_profiles([SAME] * N_USERS, users, reference)
    assert tuple(good) == tuple(bad) == PROFILE_MEASURES
    assert all(values.shape == (N_USERS,) and values.dtype == np.float64 for values in good.values())
    assert good["format"].mean() == bad["format"].mean() == 1.0
    assert good["distinct"].mean() == 1.0
    assert bad["distinct"].mean() == pytest.approx(1 / N_USERS)
    assert good["personalisation"].mean() > 0.6
    assert bad["personalisation"].mean() == pytest.approx((1 / np.arange(1, N_USERS + 1)).mean(), abs=1e-9)
    assert good["coverage"].mean() > 0.95
    assert bad["coverage"].mean() < 0.5
    for name in ("distinct_1", "distinct_2"):
        assert good[name].mean() > 3 * bad[name].mean()


def test_format_is_lost_by_a_run_on_text() -> None:
    _, reference, users = planted()
    texts = [profile_of(user) for user in users]
    texts[3] += ", and so on"
    texts[4] = ""
    found = measure_profiles(texts, users, reference)
    np.testing.assert_array_equal(np.flatnonzero(found["format"] == 0), [3, 4])
    assert found["coverage"][4] == 0.0
    chance = (1 / np.arange(1, N_USERS + 1)).mean()
    assert found["personalisation"][4] == pytest.approx(chance)


def test_over_smoothing_is_high_for_the_neighbours_text_and_near_zero_for_random_ones() -> None:
    _, reference, users = planted()
    shared = [profile_of(user // 2 * 2) for user in users]  # both of a pair have the first one's profile
    smoothed = measure_profiles(shared, users, reference)["over_smoothing"]
    own = measure_profiles([profile_of(user) for user in users], users, reference)["over_smoothing"]
    assert smoothed.mean() > own.mean() + 0.1
    rng = np.random.default_rng(0)
    random = [profile_of(user, tuple(rng.choice(TOPICS, 3, replace=False))) for user in users]
    assert abs(measure_profiles(random, users, reference)["over_smoothing"].mean()) < 0.15
    some = users[users % 4 != 1]  # users 0, 4, 8, ... have lost their neighbour
    left = measure_profiles([profile_of(user) for user in some], some, reference)["over_smoothing"]
    np.testing.assert_array_equal(np.isnan(left), some % 4 == 0)


def test_coverage_counts_the_clusters_that_interests_reach() -> None:
    encoder = TopicEncoder()
    items = encoder.encode([f"{topic} number {row}" for topic in TOPICS for row in range(EACH)])
    phrases = encoder.encode([f"{topic} walks" for topic in TOPICS])
    clusters = TextClusters.of(items, phrases, n=8)
    assert len(set(clusters.of_item.reshape(8, EACH)[:, 0])) == 8, "each topic is a cluster"
    assert (clusters.of_item.reshape(8, EACH) == clusters.of_item[::EACH, None]).all()
    history = [0, 1, 2, 6, 7, 12]  # three of amber, two of birch, one of cedar
    assert coverage(clusters, history, phrases[:3]) == 1.0
    assert coverage(clusters, history, phrases[:1]) == pytest.approx(3 / 6)
    assert coverage(clusters, history, phrases[2:3]) == pytest.approx(1 / 6)
    assert coverage(clusters, history, phrases[5:8]) == 0.0
    assert coverage(clusters, history, phrases[[0, 0, 0]]) == pytest.approx(3 / 6), "twice the same reaches no more"
    assert coverage(clusters, history, phrases[:0]) == 0.0
    assert np.isnan(coverage(clusters, [], phrases))
    again = TextClusters.of(items, phrases, n=8)
    np.testing.assert_array_equal(clusters.of_item, again.of_item)


def test_distinct_words_are_the_share_of_different_ones() -> None:
    texts = ["User identity: night owl; User interests: night walks", "night owl", "night night"]
    found = distinct_words(texts, 1)
    assert found.mean() == pytest.approx(3 / 8)  # night, owl, walks among eight words
    assert distinct_words(texts, 2).mean() == pytest.approx(4 / 5)
    assert distinct_words(["a b c d"], 2).mean() == 1.0
    assert np.isnan(distinct_words(["one"], 2)).all()


def test_measures_refuse_what_does_not_fit() -> None:
    _, reference, users = planted()
    with pytest.raises(ValueError, match="give one text for each user"):
        measure_profiles([SAME], users, reference)
    with pytest.raises(ValueError, match="each user once"):
        measure_profiles([SAME, SAME], np.array([1, 1]), reference)


def stage(name: str, shift: float, seed: int, n: int = 400, share: float = 1.0) -> Measured:
    rng = np.random.default_rng(7)
    of_user = rng.standard_normal(n)
    values = of_user + shift + 0.3 * np.random.default_rng(seed).standard_normal(n)
    half = np.where(np.arange(n) < share * n, values, np.nan)
    return Measured(name, pd.DataFrame({"user_id": [f"u{row}" for row in range(n)], "a": values, "b": half}))


def test_paired_interval_covers_a_planted_shift() -> None:
    table = compare(stage("before", 0.0, 1), stage("after", 0.1, 2, share=0.5))
    assert list(table.columns) == list(MEASURE_COLUMNS)
    a, b = table.to_dict("records")
    assert (a["stage"], a["against"], a["n"], a["n_paired"], b["n"], b["n_paired"]) == (
        "after",
        "before",
        400,
        400,
        200,
        200,
    )
    assert 0 < a["difference_low"] < 0.1 < a["difference_high"]
    assert a["difference"] == pytest.approx(a["mean"] - a["mean_against"])
    assert a["difference_high"] - a["difference_low"] < 0.6 * (a["high"] - a["low"]), "pairs leave out what users are"
    assert any(line.startswith("a ") and line.endswith("*") for line in measure_lines(table))


def test_paired_interval_holds_zero_as_often_as_it_says() -> None:
    held = 0
    for seed in range(40):
        row = compare(stage("before", 0.0, 2 * seed), stage("after", 0.0, 2 * seed + 1), draws=200).iloc[0]
        held += row["difference_low"] <= 0 <= row["difference_high"]
    assert held >= 33


def test_a_first_stage_has_no_differences() -> None:
    table = compare(None, stage("first", 0.0, 1))
    assert table["against"].isna().all()
    assert table["difference"].isna().all()
    assert (table["n_paired"] == 0).all()
    assert not any("against" in line for line in measure_lines(table))


def answers(name: str, seed: int, gain: float, flip: bool = False) -> Measured:
    rng = np.random.default_rng(0)
    label = np.arange(600) % 2 == 0
    base = rng.standard_normal(600)
    probability = 1 / (1 + np.exp(-(base + gain * label + 0.1 * np.random.default_rng(seed).standard_normal(600))))
    table = pd.DataFrame(
        {
            "user_id": [f"u{row // 4}" for row in range(600)],
            "item_id": [f"i{row}" for row in range(600)],
            "label": ~label if flip else label,
            "probability": probability,
            "combined": base,
        }
    )
    users = pd.DataFrame({"user_id": ["u0", "u1"], "a": [0.0, 1.0]})
    return Measured(name, users, table)


def test_auc_stands_beside_its_floors_and_is_paired() -> None:
    table = compare(answers("before", 1, 0.0), answers("after", 2, 1.0)).set_index("measure")
    assert table.loc["yes_no_auc", "mean"] > 0.7
    assert table.loc["yes_no_auc", "difference_low"] > 0.1
    assert table.loc["yes_no_auc", "mean_against"] == pytest.approx(0.5, abs=0.06)
    assert table.loc["yes_no_auc of combined", "mean"] == pytest.approx(0.5, abs=0.06)
    assert table.loc["yes_no_auc above combined", "low"] > 0.1
    with pytest.raises(TableError, match="were asked different questions"):
        compare(answers("before", 1, 0.0, flip=True), answers("after", 2, 1.0))


def test_stages_of_different_users_are_not_compared() -> None:
    other = stage("other", 0.0, 1)
    moved = Measured("moved", other.users.assign(user_id="x" + other.users["user_id"]))
    with pytest.raises(TableError, match="measured on different users"):
        compare(other, moved)


REQUESTS = [
    request("a", "Oak Board"),
    request("b", "Jazz Night", "Blue Harbour", "Long Walk"),
    [{"role": "user", "content": "Say something."}],
    [{"role": "system", "content": "Short."}, user_message([ItemLine("Mug")], [])],
]


def test_padding_changes_no_free_text() -> None:
    model, words = base_model(), tokenizer()
    lean_towards_words(model)
    alone = [write_free(model, words, [asked], max_new_tokens=12)[0] for asked in REQUESTS]
    words.pad_token = words.eos_token  # masked by place, not by token
    words.padding_side = "right"
    together = write_free(model, words, REQUESTS, batch_size=4, max_new_tokens=12)
    assert together == alone
    assert len(set(together)) > 1


@pytest.mark.parametrize(
    ("said", "asked", "wanted"),
    [
        ("long walks", REQUESTS[2], "long walks"),
        ("The person: old maps\nSimilar person 1: tea", REQUESTS[2], "old maps"),  # a dialogue's first reply
        ("The person: old maps", REQUESTS[0], "The person: old maps"),  # not asked for: kept as it is
    ],
)
def test_free_text_stops_at_the_end_token(said: str, asked: object, wanted: str) -> None:
    import torch

    model, words = base_model(), tokenizer()
    model.generation_config.repetition_penalty = 5.0  # the model's own settings are not used
    model.generation_config.do_sample = True
    model.train()
    chat = words.apply_chat_template(request_messages(asked), tokenize=False, add_generation_prompt=True)
    start = len(words.encode(chat))
    reply = [*words.encode(said), words.eos_token_id, *words.encode(" and on")]

    def speak(module, args, kwargs, out):
        place = int(kwargs["position_ids"][0, -1]) - start + 1
        out.logits = torch.full_like(out.logits, -9.0)
        out.logits[..., reply[place] if place < len(reply) else reply[-1]] = 9.0
        return out

    model.register_forward_hook(speak, with_kwargs=True)
    assert write_free(model, words, [asked], max_new_tokens=60) == [wanted]
    assert model.training


def test_watch_tells_good_texts_from_bad() -> None:
    split, reference, users = planted()
    chosen = users[:16]
    requests = [request(str(user), "Oak Board") for user in chosen]
    watch = free_watch(split, reference.item_vectors, chosen, requests, reference.encoder)
    good = watch.texts_of([profile_of(user) for user in chosen])
    bad = watch.texts_of([f"{SAME}, and so on"] * 16)
    assert good["format"] == 1.0
    assert good["personalisation"] > bad["personalisation"] + 0.3
    assert bad["format"] == 0.0
    model = base_model()
    found = watch.measure(model, tokenizer())
    assert set(found) == {"format", "personalisation"}
    assert found["format"] == 0.0, "random weights do not write profiles"
    with pytest.raises(ValueError, match="give one each"):
        free_watch(split, reference.item_vectors, chosen, requests[:3], reference.encoder)


def test_importing_is_light(child_environment: dict[str, str]) -> None:
    import subprocess
    import sys

    modules = [
        "held_out",
        *(f"measures.{name}" for name in ("measures", "compare", "stage", "yes_no", "floors", "clusters")),
    ]
    line = "; ".join(f"import reclm_hf.tuning.{name}" for name in modules)
    heavy = "import sys; print([name for name in ('torch', 'transformers', 'pandas', 'trl') if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{line}; {heavy}"], env=child_environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
