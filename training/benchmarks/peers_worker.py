"""An epoch of a peer library, in an environment of its own; imports nothing of this package.

Orders and answers as in `speed_worker.py`. The interactions come as an int64 [2, n] .npy file of rows.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

WIDTH, BATCH = 32, 4096
EPOCHS = 10  # of the libraries that train without handing control back between epochs
Clock = tuple[float, float]
Epoch = Callable[[], Clock]


def now() -> Clock:
    """Wall and processor seconds."""
    return time.perf_counter(), time.process_time()


def timed(work: Callable[[], object]) -> Clock:
    """Of one call."""
    start = now()
    work()
    end = now()
    return end[0] - start[0], end[1] - start[1]


def recbole(name: str) -> Callable[[np.ndarray, str], Epoch]:
    """BPR or LightGCN of RecBole: its own loader, negatives and Adam."""

    def make(pairs: np.ndarray, folder: str) -> Epoch:
        import scipy.sparse
        import torch
        from recbole.config import Config  # type: ignore[import-not-found]
        from recbole.data import create_dataset, data_preparation  # type: ignore[import-not-found]
        from recbole.model.general_recommender import BPR, LightGCN  # type: ignore[import-not-found]
        from recbole.trainer import Trainer  # type: ignore[import-not-found]

        class Newer(LightGCN):
            def get_norm_adj_mat(self) -> torch.Tensor:
                """The same matrix: SciPy 1.17 lacks the method by which RecBole fills it."""
                seen = self.interaction_matrix.tocsr()
                both = scipy.sparse.bmat([[None, seen], [seen.T, None]]).tocoo()
                scale = (np.bincount(both.row, minlength=both.shape[0]) + 1e-7) ** -0.5
                values = torch.from_numpy((both.data * scale[both.row] * scale[both.col]).astype(np.float32))
                return torch.sparse_coo_tensor(torch.from_numpy(np.stack([both.row, both.col])), values, both.shape)

        data = Path(folder) / "mind"
        data.mkdir()
        text = "user_id:token\titem_id:token\n" + "".join(f"u{user}\ti{item}\n" for user, item in pairs.T)
        for part in ("train", "valid"):
            (data / f"mind.{part}.inter").write_text(
                text if part == "train" else "\n".join(text.split("\n")[:2]) + "\n"
            )
        sys.argv = sys.argv[:1]  # RecBole reads the command line
        os.chdir(folder)  # and writes its logs where it is started
        settings = {
            "data_path": folder,
            "benchmark_filename": ["train", "valid", "valid"],
            "load_col": {"inter": ["user_id", "item_id"]},
            "embedding_size": WIDTH,
            "n_layers": 2,
            "train_batch_size": BATCH,
            "learning_rate": 1e-3,
            "use_gpu": False,
            "show_progress": False,
        }
        config = Config(model=name, dataset="mind", config_dict=settings)
        train, _, _ = data_preparation(config, create_dataset(config))
        trainer = Trainer(config, (BPR if name == "BPR" else Newer)(config, train.dataset))
        turn = [0]

        def epoch() -> Clock:
            turn[0] += 1
            return timed(lambda: trainer._train_epoch(train, turn[0], show_progress=False))

        return epoch

    return make


def implicit(pairs: np.ndarray, folder: str) -> Epoch:
    """BPR of implicit: stochastic gradient descent, one triple after the other, compiled."""
    import scipy.sparse
    from implicit.cpu.bpr import BayesianPersonalizedRanking  # type: ignore[import-not-found]

    matrix = scipy.sparse.csr_matrix((np.ones(pairs.shape[1], dtype=np.float32), (pairs[0], pairs[1])))

    def fit(epochs: int) -> None:
        model = BayesianPersonalizedRanking(factors=WIDTH, iterations=epochs, num_threads=1, random_state=0)
        model.fit(matrix, show_progress=False)

    return lambda: _between(fit)


def cornac(pairs: np.ndarray, folder: str) -> Epoch:
    """BPR of Cornac: as that of implicit."""
    from cornac.data import Dataset  # type: ignore[import-not-found]
    from cornac.models import BPR  # type: ignore[import-not-found]

    data = Dataset.from_uir([(int(user), int(item), 1.0) for user, item in pairs.T], seed=0)

    def fit(epochs: int) -> None:
        BPR(k=WIDTH, max_iter=epochs, num_threads=1, seed=0, verbose=False).fit(data)

    return lambda: _between(fit)


def _between(fit: Callable[[int], None]) -> Clock:
    """An epoch: what so many more of them cost, so that setting up is not counted."""
    few, many = timed(lambda: fit(1)), timed(lambda: fit(1 + EPOCHS))
    return (many[0] - few[0]) / EPOCHS, (many[1] - few[1]) / EPOCHS


PEERS: dict[str, Callable[[np.ndarray, str], Epoch]] = {
    "recbole-bpr": recbole("BPR"),
    "recbole-lightgcn": recbole("LightGCN"),
    "implicit-bpr": implicit,
    "cornac-bpr": cornac,
}


def versions() -> dict[str, str | None]:
    """Of what is installed here."""
    found: dict[str, str | None] = {}
    for name in ("recbole", "implicit", "cornac", "torch", "numpy", "scipy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def main() -> None:
    """Peer and file of interactions are the arguments."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    name, pairs = sys.argv[1], np.load(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder:
        epoch: Epoch | None = None
        for line in sys.stdin:
            do = json.loads(line)["do"]
            answer: dict[str, Any]
            if do == "open":
                try:
                    epoch = PEERS[name](pairs, folder)
                    epoch()
                    answer = {"versions": versions(), "python": sys.version.split()[0]}
                except ImportError as error:
                    answer = {"skipped": f"{type(error).__name__}: {error}"}
            else:
                assert epoch is not None
                wall, cpu = epoch()
                answer = {"wall": wall, "cpu": cpu, "load": os.getloadavg()[0]}
            print(json.dumps(answer), file=answers, flush=True)
        os.chdir("/")


if __name__ == "__main__":
    main()
