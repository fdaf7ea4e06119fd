"""Ranks of targets in one pass over the scores, compiled; `metrics.target_ranks` is the same without a compiler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..recommender.kernels import Kernel

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# Cells of all blocks together from which on the kernel is worth the start of the compiler.
WORTH_CELLS = 2**26
_INFINITY = np.float32(np.inf)
_UNRANKED = np.iinfo(np.int32).max  # as in `metrics`


def _rank_rows(
    scores: np.ndarray,
    users: np.ndarray,
    seen_start: np.ndarray,
    seen_item: np.ndarray,
    target_start: np.ndarray,
    target_item: np.ndarray,
    column: np.ndarray,
    tie_rank: np.ndarray,
    ranks: np.ndarray,
) -> int:
    """How many `ranks` were written, -1 where the scores or the targets are wrong.

    scores [B, C] float32 of `users` [B]. The pairs of seen items and of targets are rows of CSR matrices [U, I];
    column [I] is the place of an item among the candidates, -1 for none; tie_rank [C] int32; ranks int32.
    """
    written = 0
    for row in range(len(scores)):
        line = scores[row]
        wrong = np.int32(0)
        for c in range(len(line)):
            wrong = np.int32(wrong | np.int32(not (line[c] < _INFINITY)))  # also of NaN
        if wrong:
            return -1
        user = users[row]
        for entry in range(target_start[user], target_start[user + 1]):
            own = column[target_item[entry]]
            if own < 0:
                continue
            score, place = line[own], tie_rank[own]
            # int32 throughout: the loops over floats of the same width become vector instructions.
            above, equal = np.int32(0), np.int32(0)
            for c in range(len(line)):
                above = np.int32(above + np.int32(line[c] > score))
                equal = np.int32(equal + np.int32(line[c] == score))
            if equal > 1:
                for c in range(len(line)):
                    above = np.int32(above + np.int32((line[c] == score) & (tie_rank[c] < place)))
            for known in range(seen_start[user], seen_start[user + 1]):
                c = column[seen_item[known]]
                if c == own:
                    return -1
                if c >= 0 and (line[c] > score or (line[c] == score and tie_rank[c] < place)):
                    above = np.int32(above - 1)
            ranks[written] = above if score > -_INFINITY else _UNRANKED
            written += 1
    return written


_RANK_ROWS = Kernel(_rank_rows)


class RankCounter:
    """Ranks of targets, block after block, of users whose known items and targets are rows of two matrices.

    Args:
        history: [U, I] CSR of what is seen. targets: [U, I] CSR of what is ranked.
        column: [I] int64, see `scoring.candidate_columns`. tie_rank: [C] int, see `metrics.target_ranks`.
        cells: of all blocks together, so that small work does not wait for the compiler.
    """

    def __init__(
        self, history: csr_array, targets: csr_array, column: np.ndarray, tie_rank: np.ndarray, cells: int
    ) -> None:
        self._seen, self._targets, self._column = history, targets, column
        order = np.argsort(tie_rank, kind="stable")
        self._places = np.empty(len(order), dtype=np.int32)
        self._places[order] = np.arange(len(order), dtype=np.int32)
        wanted = cells >= WORTH_CELLS or _RANK_ROWS.started()
        self._kernel = _RANK_ROWS.compiled() if wanted else None

    def ranks(self, users: np.ndarray, scores: np.ndarray) -> np.ndarray | None:
        """int32, ranks of the targets of `users` (int64 [B]) in `scores` (float32 [B, C]), by row, then as stored.

        None where there is no kernel, and for what `metrics.target_ranks` refuses: it says what is wrong.
        """
        if self._kernel is None:
            return None
        starts = self._targets.indptr
        ranks = np.empty(int((starts[users + 1] - starts[users]).sum()), dtype=np.int32)
        written = self._kernel(
            np.ascontiguousarray(scores),
            users,
            self._seen.indptr,
            self._seen.indices,
            starts,
            self._targets.indices,
            self._column,
            self._places,
            ranks,
        )
        return None if written < 0 else ranks[:written]
