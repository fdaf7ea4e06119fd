"""Are planted signals recovered, and is nothing found where nothing was planted? Prints the recovery table.

`python training/benchmarks/planted.py` takes some six minutes of one idle core; `--only statistics` or `--only fusion`
runs a part. Data: `reclm_hf.data.synthetic`. Three tools are tried:

- signal: `describe.text_signal`, its effect, its interval over users, and z where nothing was planted.
- oracles: recall@20 of a scorer that knows the utilities, less that of one without the text term or without the
  profile term, through `comparisons_table`. What is known are the scorers, so only the statistics are tested.
- fusion: recall@20 of a trained recommender less that of its twin with shuffled profiles (signal `profile`), or with
  texts dealt out anew among the items (signal `text`). Epochs are chosen on the validation split, before one refit.

Two truths, since there are two kinds of randomness. *Given the items* means the mean over users who choose among the
very items of the sample, with its candidates: what an interval over users speaks of. *Over items* means the mean of
this over draws of the items too: what an interval over items speaks of. Every replication draws new items and new
users, so each has its own truth of the first kind; the second one is the mean of those of the other replications.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from reclm_hf.data.describe import text_signal
from reclm_hf.data.splits import Split
from reclm_hf.data.synthetic import Synthetic, SyntheticUsers, synthetic_interactions, text_effect
from reclm_hf.evaluation import Row, comparisons_table, evaluate

if TYPE_CHECKING:
    import pandas as pd

SETTINGS = ("catalogue", "zero_shot")
STRENGTHS = (0.5, 1.0, 1.5)
SIGNALS = ("text", "profile")
BELIEVED = (0.25, 0.5, 1.0, 1.5, 2.0)
"""Strengths that five scorers believe in: with two settings, the ten cells of a data set."""
USERS = 1_200
FRESH_USERS = 10_000
DRAWS = 2_000
TWIN = {"text": "dealt texts", "profile": "shuffled profiles"}


def replication(
    strength: float, seed: int, n_users: int = USERS, fresh_users: int = FRESH_USERS
) -> tuple[dict[str, float], pd.DataFrame]:
    """One synthetic data set with both signals of one strength: the diagnostic, and known scorers compared.

    Args:
        n_users: of the sample. fresh_users: those from whom the truth is computed.

    Returns:
        `effect`, `low`, `high`, `z` of the diagnostic and its `truth`; and the lines of `comparisons_table`, one for
        each setting and signal, with the columns `signal` and `truth` (both given the items).
    """
    data = synthetic_interactions(strength, strength, n_users=n_users, seed=seed)
    test = data.splits.test
    fresh = data.fresh_users(test, fresh_users)
    found = text_signal(test, data.items.vectors, seed=seed)
    diagnostic = {"effect": found.effect, "low": found.low, "high": found.high, "z": found.z}
    diagnostic["truth"] = text_effect(fresh, data.items.vectors).value
    population = _oracles(data, fresh.split, fresh.users)
    cells = _compare(_oracles(data, test), [("all", signal) for signal in SIGNALS], seed)
    cells["truth"] = [_gain(population, line.setting, line.a, line.b) for line in cells.itertuples()]
    return diagnostic, cells.assign(signal=cells["b"], seed=seed)


def believers(strength: float, seed: int) -> pd.DataFrame:
    """Ten cells: scorers that believe in the profile signal, each against itself with the traits of other users.

    Where the strength is 0, traits are independent of the choices, the two scorers of a pair are exchangeable, and
    their true difference is 0 whatever they believe.
    """
    data = synthetic_interactions(strength, strength, seed=seed)
    test, users = data.splits.test, data.users
    rng = np.random.default_rng([seed, 3])
    rows, pairs = [], []
    for believed in BELIEVED:
        others = replace(users, trait=users.trait[rng.permutation(len(users.trait))])
        names = (f"own {believed}", f"other {believed}")
        for name, whose in zip(names, (users, others), strict=True):
            rows.append(_row(name, data.oracle(test, whose, profile=believed), test))
        pairs.append(names)
    return _compare(rows, pairs, seed)


def fusion(strength: float, seed: int, backbones: Sequence[str], signal: str) -> pd.DataFrame:
    """Trained recommenders against their twins, one cell for each setting and backbone, with the oracle's gain.

    Data carry the one signal alone. The column `oracle` is the gain of the scorer that knows the utilities over the
    one without the term, on the same users.
    """
    strengths = (strength, 0.0) if signal == "text" else (0.0, strength)
    data = synthetic_interactions(*strengths, seed=seed)
    test, vectors = data.splits.test, data.items.vectors
    dealt = vectors[np.random.default_rng([seed, 4]).permutation(len(vectors))]
    variants = {"text": [("none", vectors), ("none", dealt)], "profile": [("llm", vectors), ("shuffled", vectors)]}
    rows, pairs = [], []
    for backbone in backbones:
        names = (f"{backbone} {signal}", f"{backbone} {TWIN[signal]}")
        for name, (mode, texts) in zip(names, variants[signal], strict=True):
            rows.append(_row(name, train(data, backbone, mode, texts, seed), test))
        pairs.append(names)
    cells = _compare(rows, pairs, seed)
    known = _oracles(data, test)
    cells["oracle"] = [_gain(known, setting, "all", signal) for setting in cells["setting"]]
    return cells.assign(signal=signal, backbone=[name.split()[0] for name in cells["a"]], seed=seed)


def train(data: Synthetic, backbone: str, profile_mode: str, vectors: np.ndarray, seed: int = 0) -> Any:
    """A small recommender: epochs chosen by recall@20 on the validation split, one refit on the train period."""
    from reclm_hf.recommender.build import build_recommender
    from reclm_hf.recommender.configuration_reclm_recommender import RecLMRecommenderConfig
    from reclm_hf.recommender.trainer import TrainerOptions, choose_epochs, fit

    # Set by the gain on validation periods of other seeds than those that are reported.
    options = TrainerOptions(max_epochs=30, batch_size=1024, learning_rate=1e-2, evaluate_every=2, seed=seed)

    def untrained(split: Split) -> Any:
        config = RecLMRecommenderConfig(backbone=backbone, preset="standard", profile_mode=profile_mode, seed=seed)
        profiles = None if profile_mode == "none" else data.users.profiles
        return build_recommender(config, data.splits.data, split, vectors, profiles)

    validation = data.splits.validation
    chosen = choose_epochs(untrained(validation), validation, lambda model: _recall(model, validation), options)
    model = untrained(data.splits.test)
    fit(model, data.splits.test, chosen.best_epoch, options)
    return model


def covered(low: np.ndarray, high: np.ndarray, truth: np.ndarray) -> int:
    """How many of the intervals hold their truth."""
    return int(((low <= truth) & (truth <= high)).sum())


def mean_of_others(truth: np.ndarray) -> np.ndarray:
    """[n] the mean over all entries but the own one: the truth over items that does not know the own items."""
    return (truth.sum() - truth) / (len(truth) - 1)


def starred(cells: pd.DataFrame) -> int:
    """Cells with a verdict other than `not shown`."""
    return int((cells["verdict"] != "not shown").sum())


def _oracles(data: Synthetic, split: Split, users: SyntheticUsers | None = None) -> list[Row]:
    """Rows `all`, and `text` and `profile`, which lack that term."""
    scorers = {
        "all": data.oracle(split, users),
        "text": data.oracle(split, users, text=0.0),
        "profile": data.oracle(split, users, profile=0.0),
    }
    return [_row(name, scorer, split) for name, scorer in scorers.items()]


def _row(name: str, model: Any, split: Split) -> Row:
    return Row(name, "model", [evaluate(model, split, settings=SETTINGS, ks=(20,))])


def _compare(rows: list[Row], pairs: Sequence[tuple[str, str]], seed: int) -> pd.DataFrame:
    return comparisons_table(
        rows, pairs, dataset="synthetic", fingerprint="", settings=SETTINGS, draws=DRAWS, seed=seed
    )


def _gain(rows: list[Row], setting: str, a: str, b: str) -> float:
    means = {row.label: row.evaluations[0][setting].mean("recall@20") for row in rows}
    return means[a] - means[b]


def _recall(model: Any, split: Split) -> float:
    result = evaluate(model, split, settings=SETTINGS, ks=(20,))
    return float(np.mean([result[setting].mean("recall@20") for setting in SETTINGS]))


# -- the table --------------------------------------------------------------------------------------------------------


def print_statistics(replications: int, seeds: int, n_users: int) -> None:
    """The diagnostic and the known scorers at three strengths, and at zero."""
    import pandas as pd

    for strength in STRENGTHS:
        runs = [replication(strength, 1000 + seed, n_users) for seed in range(replications)]
        found = pd.DataFrame([diagnostic for diagnostic, _ in runs])
        inside = covered(*(found[name].to_numpy() for name in ("low", "high", "truth")))
        mean = found.mean()
        print(
            f"signal   strength {strength}: truth {mean.truth:.4f}, estimate {mean.effect:.4f}, interval covers "
            f"{inside} of {replications}, mean z {mean.z:.1f}"
        )
        for key, cells in pd.concat([cells for _, cells in runs]).groupby(["signal", "setting"]):
            print(f"oracles  {key[0]} strength {strength}, {key[1]}: {coverage(cells)}")
    z = np.array([replication(0.0, seed, n_users, 100)[0]["z"] for seed in range(seeds)])
    beyond = int((np.abs(z) > 1.96).sum())
    print(f"signal   strength 0: |z| > 1.96 in {beyond} of {seeds} data sets, largest |z| {np.abs(z).max():.2f}")
    for strength in (0.0, *STRENGTHS):
        print_stars(f"oracles  ten cells, strength {strength}", [believers(strength, seed) for seed in range(seeds)])


def coverage(cells: pd.DataFrame) -> str:
    """Truth, estimate and the coverage of all intervals, of one cell over the replications."""
    truth = cells["truth"].to_numpy()
    over_items = mean_of_others(truth)
    kinds = {"users": ("low_users", "high_users"), "items": ("low_items", "high_items"), "wider": ("low", "high")}
    shown = []
    for name, ends in kinds.items():
        low, high = (cells[end].to_numpy() for end in ends)
        shown.append(
            f"{name} {covered(low, high, truth)} and {covered(low, high, over_items)} (width {(high - low).mean():.3f})"
        )
    return (
        f"truth {truth.mean():.4f}, estimate {cells['difference'].mean():.4f}; of {len(cells)} intervals cover given "
        f"the items and over items: {', '.join(shown)}; starred {starred(cells)}"
    )


def print_stars(label: str, tables: Sequence[pd.DataFrame]) -> None:
    """Starred cells, and how many the permutation test alone would star without Holm and without intervals."""
    stars = [starred(table) for table in tables]
    total, single = sum(len(table) for table in tables), sum(int((table["p"] < 0.05).sum()) for table in tables)
    print(
        f"{label}: {sum(stars)} of {total} cells starred, in {sum(map(bool, stars))} of {len(tables)} tables; "
        f"p < 0.05 alone in {single} cells"
    )


def print_fusion(seeds: int, data_sets: int, backbones: Sequence[str]) -> None:
    """The share of the oracle's gain that trained recommenders recover, and stars where there is nothing."""
    import pandas as pd

    for signal in SIGNALS:
        for strength in STRENGTHS:
            cells = pd.concat([fusion(strength, 500 + seed, backbones, signal) for seed in range(data_sets)])
            for key, part in cells.groupby(["backbone", "setting"], sort=False):
                gain, oracle = part["difference"].mean(), part["oracle"].mean()
                error = part["difference"].std(ddof=1) / len(part) ** 0.5
                print(
                    f"fusion   {signal} strength {strength}, {key[0]}, {key[1]}: gain {gain:+.4f} (standard error over "
                    f"data sets {error:.4f}) of the oracle's {oracle:+.4f}, share {gain / oracle:.2f}; "
                    f"starred {starred(part)} of {len(part)}"
                )
        nothing = [fusion(0.0, seed, backbones, signal) for seed in range(seeds)]
        print_stars(f"fusion   {signal} strength 0", nothing)


def main() -> None:
    """Run and print."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("statistics", "fusion"), help="one part; both by default")
    parser.add_argument("--replications", type=int, default=40, help="data sets at each strength, for coverage")
    parser.add_argument("--users", type=int, default=USERS, help="of a sample; with many, items are the scarcer sample")
    parser.add_argument("--seeds", type=int, default=20, help="data sets where nothing is planted")
    parser.add_argument("--data-sets", type=int, default=10, help="data sets at each strength, for trained models")
    parser.add_argument(
        "--backbones", nargs="+", default=["bias_mf", "lightgcn"], help="trained, all together in a table"
    )
    args = parser.parse_args()
    # Models this small are not faster with more threads, and with one a seed gives the same digits every time.
    torch.set_num_threads(1)
    if args.only != "fusion":
        print_statistics(args.replications, args.seeds, args.users)
    if args.only != "statistics":
        print_fusion(args.seeds, args.data_sets, args.backbones)


if __name__ == "__main__":
    main()
