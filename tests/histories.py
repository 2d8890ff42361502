"""Random histories of a few members, written into the tables, and a plain reading of the rules beside them."""

import datetime as dt
from collections import Counter, defaultdict
from typing import NamedTuple

from hypothesis import strategies as st

from kpis.tiers import tiers_of, year_before
from portfolios.models import BindingBatch, Member, Month
from tests.books import Chain

FIRST_DAY = dt.date(2026, 1, 1)
MONTHS = (202601, 202602, 202603, 202604)
WINDOW = 20


class Life(NamedTuple):
    """A member: home store, first and last counted day, owner from each day on, purchases.

    `into` is how many places further on, in the list of members, the card is that this one is merged into when it
    closes; none where it stays open or there is no such place.
    """

    store: int
    counted: tuple[int, int | None]
    owners: dict[int, int | None]
    tickets: list[tuple[int, int, int]]
    into: int


days = st.integers(-40, 119)
lives = st.builds(
    lambda store, since, length, owners, tickets, into: Life(
        store, (since, None if length is None else since + length), {max(d, since): o for d, o in owners}, tickets, into
    ),
    st.integers(0, 1),
    days,
    st.none() | st.integers(0, 90),
    st.lists(st.tuples(days, st.none() | st.integers(0, 2)), max_size=5),
    # Business day, amount (a return below zero), months late.
    st.lists(st.tuples(st.integers(0, 119), st.sampled_from([100, 250, 999, -80]), st.integers(0, 2)), max_size=6),
    st.integers(0, 2),
)


def survivor(lives: list[Life], number: int) -> int | None:
    """The place of the card that this one is merged into when it closes."""
    life = lives[number]
    there = life.into and life.counted[1] is not None and number + life.into < len(lives)
    return number + life.into if there else None


class Reference:
    """The rules read one member and one day at a time."""

    def __init__(self, lives: list[Life]) -> None:
        self.lives = lives

    def counts(self, life: Life, on: dt.date) -> bool:
        since, until = life.counted
        offset = (on - FIRST_DAY).days
        return since <= offset and (until is None or offset < until)

    def owner(self, life: Life, on: dt.date) -> int | None:
        started = [since for since in life.owners if since <= (on - FIRST_DAY).days]
        return life.owners[max(started)] if started else None

    def book(self, life: Life, on: dt.date) -> str:
        owner = self.owner(life, on)
        return f"S{life.store + 1}" if owner is None else f"C{owner + 1}"

    def activity(self, life: Life) -> list[tuple[dt.date, int]]:
        found = []
        for offset, amount, late in life.tickets:
            on = FIRST_DAY + dt.timedelta(days=offset)
            found.append((max(on, dt.date(2026, on.month + late, 1)), amount))
        return found

    def stands(self, number: int, on: dt.date) -> int:
        """The place of the card that stands for this one at the end of a day."""
        into, until = survivor(self.lives, number), self.lives[number].counted[1]
        merged = into is not None and until is not None and until <= (on - FIRST_DAY).days
        return self.stands(into, on) if merged and into is not None else number

    def bought(self, number: int, on: dt.date) -> list[tuple[dt.date, int]]:
        """What counts for the member at the end of a day, with the cards that were merged into it by then."""
        return [
            bought
            for other, life in enumerate(self.lives)
            if self.stands(other, on) == number
            for bought in self.activity(life)
        ]

    def active(self, number: int, on: dt.date) -> bool:
        return self.counts(self.lives[number], on) and any(
            on - dt.timedelta(days=WINDOW) < bought <= on and amount > 0 for bought, amount in self.bought(number, on)
        )

    def movement(self, month: Month) -> dict[str, Counter[str]]:
        every_day = [month.starts_on + dt.timedelta(days=n) for n in range(month.days)]
        before, last = month.starts_on - dt.timedelta(days=1), month.ends_on
        found: dict[str, Counter[str]] = defaultdict(Counter)
        after = last + dt.timedelta(days=1)
        tiers = tiers_of(
            {
                number: sum(amount for on, amount in self.bought(number, last) if year_before(after) <= on < after)
                for number in range(len(self.lives))
            }
        )
        for number, life in enumerate(self.lives):
            since, until = (None if n is None else FIRST_DAY + dt.timedelta(days=n) for n in life.counted)
            assert since is not None
            there, stays = self.counts(life, before), self.counts(life, last)
            enrolled, closed = since in every_day, until in every_day
            if not (there or enrolled):
                continue
            if there:
                begins = self.book(life, before)
                found[begins]["opening"] += 1
            else:
                owners = [self.owner(life, on) for on in every_day if on >= since]
                bound = [owner for owner in owners if owner is not None]
                begins = f"C{bound[0] + 1}" if bound else f"S{life.store + 1}"
                found[begins]["enrolled"] += 1
            ends = self.book(life, last) if stays else None
            if closed:
                found[begins]["closed"] += 1
            if ends:
                found[ends]["closing"] += 1
                if tiers[number] != "C":
                    found[ends][f"tier_{tiers[number].lower()}"] += 1
                if ends != begins:
                    found[begins]["transferred_out"] += 1
                    found[ends]["transferred_in"] += 1
            was, is_now = self.active(number, before), self.active(number, last)
            if was:
                found[begins]["active_opening"] += 1
                if not is_now:
                    found[begins]["lapsed"] += 1
            if is_now:
                assert ends
                found[ends]["active_closing"] += 1
                if not was:
                    past = any(on < month.starts_on and amount > 0 for on, amount in self.bought(number, last))
                    found[ends]["reactivated" if past else "newly_active"] += 1
                elif begins != ends:
                    found[begins]["active_out"] += 1
                    found[ends]["active_in"] += 1
        return found


def write(lives: list[Life]) -> None:
    chain = Chain(202601, 202606)
    stores = [chain.store(), chain.store()]
    clerks = [chain.clerk(stores[number % 2]) for number in range(3)]

    def text(offset: int | None) -> str:
        return "" if offset is None else (FIRST_DAY + dt.timedelta(days=offset)).isoformat()

    members = [
        chain.member(stores[life.store], since=text(life.counted[0]), until=text(life.counted[1])) for life in lives
    ]
    for number, (life, member) in enumerate(zip(lives, members, strict=True)):
        if (into := survivor(lives, number)) is not None:
            batch = BindingBatch.objects.create(source="merge")
            Member.objects.filter(pk=member.pk).update(merged_into=members[into], merged_by=batch)
        starts = sorted(life.owners)
        for start, end in zip(starts, [*starts, None][1:], strict=True):
            owner = life.owners[start]
            if owner is not None:
                chain.bind(member, clerks[owner], since=text(start), until=text(end))
        for offset, amount, late in life.tickets:
            on = FIRST_DAY + dt.timedelta(days=offset)
            posted = 202600 + on.month + late if late else 0
            chain.buy(member, on.isoformat(), amount, posted=posted, settled=amount < 0)
