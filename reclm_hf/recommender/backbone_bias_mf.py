"""BiasMF: matrix factorisation with an item bias (Koren et al. 2009); a user bias would cancel in ranking."""

from __future__ import annotations

from .backbone import Backbone


class BiasMF(Backbone):
    """The representations are the inputs; all of the model is in them and in the item bias."""

    title = "BiasMF"
    source = "Koren et al. 2009"
    has_item_bias = True
