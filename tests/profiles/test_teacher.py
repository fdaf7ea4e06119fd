from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from reclm_hf.data.splits import Split
from reclm_hf.data.tables import PROFILE_COLUMNS, TableError
from reclm_hf.profiles.engine_transformers import TransformersEngine
from reclm_hf.profiles.engines import GeneratedProfile, ProfileRequest
from reclm_hf.profiles.generate import generate_user_profiles
from reclm_hf.profiles.neighbors import top_neighbors
from reclm_hf.profiles.quality import history_vectors
from reclm_hf.profiles.teacher import (
    CANDIDATE_COLUMNS,
    BestOfN,
    HistoryScorer,
    best_of_n,
    candidate_table,
    halves,
    read_candidates,
    selection_lines,
    selection_report,
)
from tests.checkerboard import checkerboard
from tests.profiles.tiny import request, tiny_model, tiny_tokenizer

DIM = 16


def well_formed(word: str) -> str:
    return f"User identity: {word} fan, night owl, early bird; User interests: {word} tales, long walks, old maps"


def number_of(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def letters(text: str) -> str:
    return "".join(chr(ord("a") + number_of(f"{text}{place}") % 26) for place in range(8))


class SampleEngine:
    """Writes a text for each key and sample; those in `malformed` keep no format."""

    generator = "samples"

    def __init__(self, malformed: Sequence[tuple[str, int]] = ()) -> None:
        self.malformed = set(malformed)
        self.asked: list[ProfileRequest] = []

    def generate(self, requests: Sequence[ProfileRequest]) -> list[GeneratedProfile]:
        self.asked += requests
        return [GeneratedProfile(self.text(one.key, one.sample), 10, 1 + one.sample) for one in requests]

    def text(self, key: str, sample: int) -> str:
        text = well_formed(letters(f"{key}/{sample}"))
        return "no profile" if (key, sample) in self.malformed else text


class NumberScorer:
    """A score that depends on the text alone."""

    name = "numbers"

    def score(self, keys: Sequence[str], texts: Sequence[str]) -> np.ndarray:
        return np.array([number_of(text) / 2**32 for text in texts])


class PlantedEncoder:
    """The vector of a user's sample k: k parts of the own taste in noise, so that higher samples are more personal."""

    def __init__(self, users: Sequence[str], tastes: np.ndarray, strength: float, samples: int = 4) -> None:
        engine, rng = SampleEngine(), np.random.default_rng(3)
        self.vectors = {
            engine.text(user, sample): strength * sample * tastes[row] + rng.standard_normal(tastes.shape[1]) / 4
            for row, user in enumerate(users)
            for sample in range(samples)
        }

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([self.vectors[text] / np.linalg.norm(self.vectors[text]) for text in texts])


@pytest.fixture(scope="module")
def board() -> tuple:
    """A validation split whose users differ in taste, and item vectors."""
    splits, _ = checkerboard()
    items = np.random.default_rng(0).standard_normal((50, DIM))
    return splits.validation, (items / np.linalg.norm(items, axis=1, keepdims=True)).astype(np.float32), splits


def requests(split: object) -> list[ProfileRequest]:
    return [request(str(user), "Film") for user in split.user_ids]


def test_the_first_candidate_is_greedy_and_the_best_is_kept(board: tuple) -> None:
    engine = SampleEngine()
    found = best_of_n(engine, requests(board[0])[:5], 4, NumberScorer())
    assert [one.sample for one in engine.asked] == [0, 1, 2, 3] * 5
    for one in found:
        assert [candidate.sample for candidate in one.candidates] == [0, 1, 2, 3]
        assert one.greedy.written.text == engine.text(one.key, 0)
        scores = [candidate.personalisation for candidate in one.candidates]
        assert one.best is one.candidates[int(np.argmax(scores))]
    with pytest.raises(ValueError, match="two candidates"):
        best_of_n(engine, [], 1, NumberScorer())


def test_format_comes_before_personalisation(board: tuple) -> None:
    asked = requests(board[0])[:20]
    scores = {one.key: [number_of(SampleEngine().text(one.key, sample)) for sample in range(3)] for one in asked}
    malformed = [(key, int(np.argmax(values))) for key, values in scores.items()]
    for one in best_of_n(SampleEngine(malformed), asked, 3, NumberScorer()):
        second = int(np.argsort(scores[one.key])[-2])
        assert (one.best.sample, one.best.format_score) == (second, 1.0)
    everything = [(one.key, sample) for one in asked for sample in range(3)]
    for one in best_of_n(SampleEngine(everything), asked, 3, NumberScorer()):
        assert one.best is one.greedy, "of equally bad ones the first"


def test_the_table_names_no_other_teacher_and_counts_all_tokens(board: tuple, tmp_path) -> None:
    split, items, splits = board
    neighbors = top_neighbors(history_vectors(split, items), 2)
    users = [3, 4, 9]

    def write() -> tuple:
        engine = SampleEngine()
        best = BestOfN(engine, 3, NumberScorer(), tmp_path / "candidates")
        table = generate_user_profiles(
            split, splits.data.items, neighbors, best, tmp_path / "shards", users=users, progress=False
        )
        return engine, best, table

    engine, best, table = write()
    assert list(table.columns) == list(PROFILE_COLUMNS)
    assert set(table["generator"]) == {best.generator}
    assert best.generator == "samples; best of 3 by format and personalisation (numbers)"
    assert (table["tokens_in"] == 30).all()
    assert (table["tokens_out"] == 1 + 2 + 3).all()
    assert len(engine.asked) == 9
    again, _, same = write()
    assert again.asked == [], "what is written is not written again"
    assert same["profile"].tolist() == table["profile"].tolist()

    candidates = read_candidates(tmp_path / "candidates", table)
    assert list(candidates.columns) == list(CANDIDATE_COLUMNS)
    assert len(candidates) == 9
    assert candidates.loc[candidates["selected"], "profile"].tolist() == table["profile"].tolist()
    assert (candidates["format_score"] == 1).all()
    with pytest.raises(TableError, match="no candidates"):
        read_candidates(tmp_path / "candidates", table.assign(generator="another"))


def test_halves_share_nothing(board: tuple) -> None:
    split, items, _ = board
    parts = halves(split, np.eye(50, dtype=np.float32))
    assert not ((parts.selecting > 0) & (parts.judging > 0)).any()
    np.testing.assert_array_equal((parts.selecting > 0) | (parts.judging > 0), split.history_matrix().toarray() > 0)
    difference = (parts.selecting > 0).sum(axis=1) - (parts.judging > 0).sum(axis=1)
    assert set(difference) <= {0, 1}
    assert set(parts.selecting_others) | set(parts.judging_others) == set(split.history_user)
    assert not set(parts.selecting_others) & set(parts.judging_others)
    again, other = halves(split, items), halves(split, items, seed=1)
    np.testing.assert_array_equal(halves(split, items).selecting, again.selecting)
    assert (again.selecting != other.selecting).any()
    few = split.history_user < 3
    with pytest.raises(ValueError, match="3 users"):
        halves(replace(split, history_user=split.history_user[few], history_item=split.history_item[few]), items)


def test_the_scorer_looks_at_the_selecting_half_only(board: tuple) -> None:
    split, items, _ = board
    parts = halves(split, items)
    tastes = parts.selecting
    encoder = PlantedEncoder(split.user_ids, tastes, 1.0)
    keys = [str(user) for user in split.user_ids]
    texts = [SampleEngine().text(key, 3) for key in keys]
    scores = HistoryScorer(split.user_ids, parts, encoder).score(keys, texts)
    blind = halves(split, items)
    blind.judging[:] = 0.0
    np.testing.assert_array_equal(HistoryScorer(split.user_ids, blind, encoder).score(keys, texts), scores)
    shuffled = HistoryScorer(split.user_ids, parts, encoder).score(keys[1:] + keys[:1], texts)
    assert scores.mean() > shuffled.mean() + 0.2
    assert HistoryScorer(split.user_ids, parts, encoder).score(keys[:2], ["", " "]).tolist() == [0.0, 0.0]
    with pytest.raises(KeyError, match="stranger"):
        HistoryScorer(split.user_ids, parts, encoder).score(["stranger"], ["x"])


def tasteful(seed: int = 0) -> tuple[Split, np.ndarray]:
    """100 users with 16 of 3,000 items each, drawn from the 300 nearest to a taste of their own; item vectors.

    Many items, so that the halves of a history are as good as independent: of two halves of one small set of items
    each would tell what the other lacks.
    """
    rng = np.random.default_rng(seed)
    items, tastes = rng.standard_normal((3000, DIM)), rng.standard_normal((100, DIM))
    nearest = np.argsort(-tastes @ items.T, axis=1)[:, :300]
    chosen = np.concatenate([rng.choice(row, 16, replace=False) for row in nearest]).astype(np.int32)
    nobody = np.zeros(0, dtype=np.int32)
    split = Split(
        name="validation",
        cut=None,
        user_ids=np.array([f"user-{user}" for user in range(100)]),
        item_ids=np.array([f"item-{item}" for item in range(3000)]),
        history_user=np.repeat(np.arange(100, dtype=np.int32), 16),
        history_item=chosen,
        history_time=None,
        target_user=nobody,
        target_item=nobody,
        warm=np.isin(np.arange(3000), chosen),
        cold=np.zeros(3000, dtype=bool),
        users_without_history=0,
    )
    return split, items


def selected(split: object, parts: object, encoder: PlantedEncoder) -> object:
    scorer = HistoryScorer(split.user_ids, parts, encoder)
    return candidate_table(best_of_n(SampleEngine(), requests(split), 4, scorer), "x")


def test_a_planted_gain_is_seen_on_the_other_half() -> None:
    split, items = tasteful()
    parts = halves(split, items)
    encoder = PlantedEncoder(split.user_ids, history_vectors(split, items), 0.5)
    report = selection_report(selected(split, parts, encoder), split.user_ids, parts, encoder)
    assert report["users"] == 100
    assert report["changed"] > 0.9
    assert report["greedy"]["mrr"] == pytest.approx(report["chance"], abs=0.08)
    assert report["mrr_gain_interval"][0] > 0.2
    assert report["mrr_gain"] == pytest.approx(report["best"]["mrr"] - report["greedy"]["mrr"])
    assert f"to {report['best']['mrr']:.3f} (+" in selection_lines(report)[0]


def test_a_gain_by_selection_alone_is_not_believed() -> None:
    """Halves that have nothing in common: the score selected by rises, what is judged by does not."""
    selection, gains, deceived = [], [], []
    for seed in range(5):
        split, items = tasteful(seed)
        noise = np.random.default_rng(seed + 100).standard_normal(items.shape)
        parts = replace(halves(split, items, seed), judging=halves(split, noise, seed).judging)
        encoder = PlantedEncoder(split.user_ids, history_vectors(split, items), 0.0)
        report = selection_report(selected(split, parts, encoder), split.user_ids, parts, encoder)
        selection.append(report["best"]["selection_score"] - report["greedy"]["selection_score"])
        gains.append(report["mrr_gain"])
        same = replace(parts, judging=parts.selecting)
        deceived.append(selection_report(selected(split, parts, encoder), split.user_ids, same, encoder)["mrr_gain"])
    assert min(selection) > 0.1
    assert abs(np.mean(gains)) < 0.04
    assert min(deceived) > 0.06, "judged by what it was selected by, it would look like a gain"


def test_samples_of_a_real_decoder_differ_and_come_back(board: tuple) -> None:
    engine = TransformersEngine(tiny_model(), tiny_tokenizer(), "tiny", batch_size=8)
    asked = [request("user-01", "Red Rain", "Dead Man"), request("user-02", "Old Dogs")]
    first, second = (best_of_n(engine, order, 2, NumberScorer()) for order in (asked, asked[::-1]))
    for one, other in zip(first, second[::-1], strict=True):
        texts = [candidate.written.text for candidate in one.candidates]
        assert texts == [candidate.written.text for candidate in other.candidates], "whatever else is in the batch"
        assert len(set(texts)) == 2
