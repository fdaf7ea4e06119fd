from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reclm_hf.data.as_of import state_as_of
from reclm_hf.data.tables import TableError
from tests.checkerboard import checkerboard


def test_everything_before_the_time_is_history_and_nothing_is_held_back():
    splits, _ = checkerboard()
    whole = state_as_of(splits.data)
    assert len(whole.history_user) == len(splits.data.user)
    assert len(whole.target_user) == 0
    assert whole.cut == splits.data.timestamp.max() + 1
    assert whole.warm.all()
    early = state_as_of(splits.data, splits.test.cut)
    np.testing.assert_array_equal(early.history_item, splits.test.history_item)
    np.testing.assert_array_equal(early.warm, splits.test.warm)


def test_without_times_there_is_one_state_only():
    splits, _ = checkerboard()
    timeless = replace(splits.data, timestamp=None)
    assert state_as_of(timeless).cut is None
    with pytest.raises(TableError, match="Leave the time out"):
        state_as_of(timeless, 5)
    with pytest.raises(TableError, match="Choose a later one"):
        state_as_of(splits.data, int(splits.data.timestamp.min()))


def test_a_given_test_set_is_no_history_unless_asked_for():
    splits, _ = checkerboard()
    given = replace(splits.data, in_test=splits.data.timestamp >= splits.test.cut)
    state = state_as_of(given)
    np.testing.assert_array_equal(state.history_item, splits.test.history_item)
    assert splits.test.history_time.max() + 1 == state.cut <= splits.test.cut, "not a time when the test was over"
    assert len(state_as_of(replace(given, timestamp=None)).history_user) == len(splits.test.history_user)
    whole = state_as_of(given, include_test=True)
    assert (len(whole.history_user), whole.cut) == (len(given.user), given.timestamp.max() + 1)
    with pytest.raises(TableError, match="nothing happened"):
        state_as_of(replace(given, in_test=np.ones_like(given.in_test)))
