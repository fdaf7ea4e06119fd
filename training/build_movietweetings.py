"""Build the bundled data set `movietweetings-100k-u10` from the 100K snapshot of MovieTweetings (MIT).

    python training/build_movietweetings.py --source ../shared/data/movietweetings/100K

Rules: the test cut is the time at the 80 % quantile of all 100,000 ratings; users with at least 10 ratings before it
are kept with all their rows, and the items that they touch.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from reclm_hf.data.folder import write_dataset
from reclm_hf.data.importers.movietweetings import read_movietweetings
from reclm_hf.data.interactions import Interactions
from reclm_hf.data.splits import temporal_split

NAME = "movietweetings-100k-u10"
CUT_SHARE = 0.8
MIN_RATINGS = 10
CITATION = (
    "Simon Dooms, Toon De Pessemier and Luc Martens. MovieTweetings: a Movie Rating Dataset Collected From Twitter. "
    "Workshop on Crowdsourcing and Human Computation for Recommender Systems, CrowdRec at RecSys 2013."
)


def build(source: Path, output: Path) -> dict[str, object]:
    """Write the tables, `dataset.json` and the licence; returns what `dataset.json` holds."""
    items, ratings = read_movietweetings(source)
    cut = ratings["timestamp"].sort_values(kind="stable").iloc[int(CUT_SHARE * len(ratings))]
    early = ratings.loc[ratings["timestamp"] < cut, "user_id"].value_counts()
    rows = ratings[ratings["user_id"].isin(early.index[early >= MIN_RATINGS])]
    data = Interactions.from_tables(items[items["item_id"].isin(rows["item_id"])], rows, NAME)
    cut_us = int(cut.timestamp()) * 1_000_000
    test = temporal_split(data, cut=cut_us).test
    content = write_dataset(
        data,
        output,
        {
            "title": "MovieTweetings 100K, active users",
            "licence": "MIT",
            "attribution": "MovieTweetings, copyright (c) 2013 Simon Dooms, MIT licence (LICENSE.txt)",
            "citation": CITATION,
            "source": "MovieTweetings repository, snapshots/100K (ratings.dat, movies.dat)",
            "test_cut": cut_us,
            "rules": [
                f"test cut: the time at position int({CUT_SHARE} x n) of all {len(ratings):,} ratings in order of time",
                f"users with at least {MIN_RATINGS} ratings before the test cut, with all their ratings",
                "every rating is an interaction; repeated (user, item) rows keep the first",
                "items that these users rated; text is 'Title (year). Genres: A, B'",
            ],
            "split": {
                "train_items": int(test.warm.sum()),
                "cold_items": int(test.cold.sum()),
                "train_interactions": len(test.history_user),
                "test_interactions": len(test.target_user),
                "duplicates_dropped": data.duplicates,
            },
        },
    )
    shutil.copyfile(source.parent / "LICENSE", output / "LICENSE.txt")
    return content


def main() -> None:
    """Parse the arguments, build, print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder with ratings.dat and movies.dat")
    default = Path(__file__).parents[1] / "reclm_hf" / "data" / "bundled_tables" / NAME
    parser.add_argument("--output", type=Path, default=default)
    args = parser.parse_args()
    content = build(args.source, args.output)
    size = sum(path.stat().st_size for path in args.output.iterdir())
    print(f"{args.output}: {content['counts']}, {content['split']}, {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
