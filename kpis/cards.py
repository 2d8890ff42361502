"""All members' cards in one order, so that what is known of each is an array, and which of them stand for others."""

import datetime as dt
from typing import NamedTuple

import numpy as np

from kpis.bulk_rows import Numbers, Places
from portfolios.duplicates import surviving_cards


class Merged(NamedTuple):
    """The places of merged cards, and of the cards that stand for them."""

    cards: Numbers
    survivors: Numbers

    def together(self, values: Numbers, how: np.ufunc) -> Numbers:
        """What is known of each card, and of those that it stands for: `how` is np.add to sum it up."""
        whole = values.copy()
        how.at(whole, self.survivors, values[self.cards])
        return whole


class Cards:
    """All cards in the order of their keys; the number of a card in it is its place."""

    def __init__(self, keys: Numbers) -> None:
        self.keys = keys
        self.places = Places(keys)

    def __len__(self) -> int:
        return len(self.keys)

    def merged(self, on: dt.date) -> Merged:
        """The cards that are merged at the end of a day, and the ones that they are merged into."""
        pairs = np.array(list(surviving_cards(on).items()), dtype=np.int64).reshape(-1, 2)
        places = self.places(pairs)
        return Merged._make(places[(places >= 0).all(axis=1)].T)

    def standing(self, merged: Merged) -> Numbers:
        """For each card the place of the one that stands for it, which mostly is its own."""
        standing = np.arange(len(self.keys))
        standing[merged.cards] = merged.survivors
        return standing
