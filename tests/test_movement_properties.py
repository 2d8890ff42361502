"""What holds for any members: the identities, transfers that are no growth, and lists as long as their figures."""

from collections import Counter
from collections.abc import Iterable

import pytest
from django.db import transaction
from django.test import override_settings
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from kpis.classification import Transition
from kpis.member_states import member_states
from kpis.models import MemberGroup, PortfolioMonth, StoreMonth
from kpis.movement import FIGURES, classify, freeze
from kpis.movement_members import FALLEN, RISEN, FigureMembers, Scope
from portfolios.models import Month
from tests.books import close
from tests.histories import MONTHS, WINDOW, Life, Reference, lives, write

pytestmark = pytest.mark.django_db

ORGANIC = ("enrolled", "closed", "newly_active", "reactivated", "lapsed")


def adds_up(row: Counter[str]) -> None:
    assert row["closing"] == (
        row["opening"] + row["enrolled"] + row["transferred_in"] - row["transferred_out"] - row["closed"]
    )
    assert row["active_closing"] == (
        row["active_opening"]
        + row["newly_active"]
        + row["reactivated"]
        + row["active_in"]
        - row["active_out"]
        - row["lapsed"]
    )


# --- Members by where they began and where they ended ------------------------------------------------------------

books = st.none() | st.integers(1, 3)


@st.composite
def ways(draw: st.DrawFn) -> Transition:
    """Any way that members can go; clerks 1 and 3 are of store 1, clerk 2 of store 2."""
    at_opening, at_closing = draw(st.sampled_from([(True, True), (True, False), (False, True), (False, False)]))
    active_opening, active_closing = at_opening and draw(st.booleans()), at_closing and draw(st.booleans())
    first, last = draw(books), draw(books) if at_closing else None
    return Transition(
        first_clerk_id=first,
        first_store_id=draw(st.integers(1, 2)) if first is None else 2 - first % 2,
        last_clerk_id=last,
        last_store_id=None if not at_closing else draw(st.integers(1, 2)) if last is None else 2 - last % 2,
        at_opening=at_opening,
        at_closing=at_closing,
        active_opening=active_opening,
        active_closing=active_closing,
        bought_before=active_closing and not active_opening and draw(st.booleans()),
        opening_tier=draw(st.sampled_from("ABC")) if at_opening else "",
        closing_tier=draw(st.sampled_from("ABC")) if at_closing else "",
        members=draw(st.integers(1, 5)),
    )


def by_book(rows: Iterable[Transition]) -> dict[object, Counter[str]]:
    return classify(
        rows,
        first=lambda row: (row.first_clerk_id, row.first_clerk_id or row.first_store_id),
        last=lambda row: (row.last_clerk_id, row.last_clerk_id or row.last_store_id),
    )


def by_store(rows: Iterable[Transition]) -> dict[int | None, Counter[str]]:
    return classify(rows, first=lambda row: row.first_store_id, last=lambda row: row.last_store_id)


def of_chain(rows: Iterable[Transition]) -> Counter[str]:
    return classify(rows, first=lambda row: None, last=lambda row: None)[None]


def organic(found: dict[object, Counter[str]]) -> dict[object, dict[str, int]]:
    return {book: some for book, row in found.items() if (some := {name: row[name] for name in ORGANIC if row[name]})}


def total(found: Iterable[Counter[str]]) -> Counter[str]:
    whole: Counter[str] = Counter()
    for row in found:
        whole.update(row)
    return whole


@examples(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ways(), max_size=12))
def test_every_book_store_and_the_chain_add_up(rows: list[Transition]) -> None:
    clerks, stores, chain = by_book(rows), by_store(rows), of_chain(rows)
    for row in (*clerks.values(), *stores.values(), chain):
        adds_up(row)
    # What is organic is the same at every level; transfers cancel out, and the chain has none.
    for name in (*ORGANIC, "opening", "closing", "active_opening", "active_closing", "tier_a", "tier_b"):
        assert total(clerks.values())[name] == total(stores.values())[name] == chain[name]
    for found in (total(clerks.values()), total(stores.values())):
        assert found["transferred_in"] == found["transferred_out"]
        assert found["active_in"] == found["active_out"]
    assert not any(chain[name] for name in ("transferred_in", "transferred_out", "active_in", "active_out"))


@examples(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ways(), max_size=12), st.lists(st.tuples(books, st.integers(1, 2)), min_size=12, max_size=12))
def test_a_transfer_by_itself_adds_nothing_organic(
    rows: list[Transition], others: list[tuple[int | None, int]]
) -> None:
    """Members whose own state stays as it was end in any other book: nobody's organic figures move."""
    moved = [
        row._replace(last_clerk_id=clerk, last_store_id=2 - clerk % 2 if clerk else store)
        if row.at_opening and row.at_closing and row.active_opening == row.active_closing
        else row
        for row, (clerk, store) in zip(rows, others, strict=False)
    ]
    assert organic(by_book(moved)) == organic(by_book(rows))


@examples(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ways(), max_size=12), st.data())
def test_transfers_inside_a_store_change_none_of_its_figures(rows: list[Transition], data: st.DataObject) -> None:
    """Whoever of the same store has the members at the end, its unassigned list too: all the store's figures stay."""
    other = {1: [1, 3, None], 2: [2, None]}
    moved = [
        row._replace(last_clerk_id=data.draw(st.sampled_from(other[row.last_store_id]))) if row.last_store_id else row
        for row in rows
    ]
    assert by_store(moved) == by_store(rows)
    assert of_chain(moved) == of_chain(rows)


# --- Whole histories ---------------------------------------------------------------------------------------------


def figures(row: PortfolioMonth | StoreMonth) -> dict[str, int]:
    return {name: getattr(row, name) for name in FIGURES}


def frozen(
    histories: list[Life],
) -> tuple[dict[tuple[int, str], dict[str, int]], dict[tuple[int, str], dict[str, int]]]:
    """Writes the histories, freezes and closes the months: the figures by month of each book, and of each store."""
    write(histories)
    of_books, of_stores = {}, {}
    for number in MONTHS:
        month = Month.objects.get(pk=number)
        for row in freeze(member_states(month)):
            of_books[number, row.clerk.clerk_no if row.clerk else row.store.store_no] = figures(row)  # type: ignore[union-attr]
        for whole in StoreMonth.objects.filter(month=month).select_related("store"):
            of_stores[number, whole.store.store_no if whole.store else "chain"] = figures(whole)
        close(month)
    return of_books, of_stores


def lists_are_as_long_as_figures() -> None:
    rows: list[tuple[Scope, PortfolioMonth | StoreMonth]] = [
        (Scope(row.month, clerk=row.clerk, store=None if row.clerk else row.store, unassigned=not row.clerk), row)
        for row in PortfolioMonth.objects.select_related("month", "clerk", "store")
    ]
    rows += [(Scope(row.month, store=row.store), row) for row in StoreMonth.objects.select_related("month", "store")]
    for scope, row in rows:
        for name in FIGURES:
            members = FigureMembers(scope, name)
            assert len(members) == getattr(row, name), (scope, name)
            assert len({move.member.pk for move in members[:]}) == len(members)


@examples(deadline=None, max_examples=25)
@given(st.lists(lives, min_size=1, max_size=6))
def test_random_histories_move_as_the_rules_say(histories: list[Life]) -> None:
    with override_settings(ACTIVITY_WINDOW_DAYS=WINDOW), transaction.atomic():
        of_books, of_stores = frozen(histories)
        reference = Reference(histories)
        unbound = Reference([life._replace(owners={}) for life in histories])
        closings: dict[str, tuple[int, int]] = {}
        for number in MONTHS:
            month = Month.objects.get(pk=number)
            rows = {book: Counter(found) for (of, book), found in of_books.items() if of == number}
            expected = {book: +found for book, found in reference.movement(month).items() if +found}
            assert {book: +found for book, found in rows.items() if +found} == expected

            stores = {store: Counter(found) for (of, store), found in of_stores.items() if of == number}
            for name, row in {**rows, **stores}.items():
                adds_up(row)
                opened = (row["opening"], row["active_opening"])
                # Stores have names of their own beside their lists.
                key = f"store {name}" if row is stores.get(name) else name
                assert closings.get(key, opened) == opened
                closings[key] = (row["closing"], row["active_closing"])

            # What moves between books is neither growth nor loss: the chain's figures are those of no binding at all.
            without = total(unbound.movement(month).values())
            assert +stores["chain"] == +Counter({name: without[name] for name in FIGURES})
        lists_are_as_long_as_figures()
        transaction.set_rollback(True)


@examples(deadline=None, max_examples=12)
@given(st.lists(lives, min_size=1, max_size=5))
def test_a_store_s_figures_are_the_same_without_the_transfers_inside_it(histories: list[Life]) -> None:
    """C1 and C3 are of the first store: were all of C3's members C1's, no store's figure would be another one."""
    of_one_clerk = [
        life._replace(owners={since: 0 if owner == 2 else owner for since, owner in life.owners.items()})
        for life in histories
    ]
    found = []
    for lived in (histories, of_one_clerk):
        with override_settings(ACTIVITY_WINDOW_DAYS=WINDOW), transaction.atomic():
            found.append(frozen(lived)[1])
            transaction.set_rollback(True)
    assert found[0] == found[1]


@examples(deadline=None, max_examples=12)
@given(st.lists(lives, min_size=1, max_size=5))
def test_who_rose_and_who_fell_is_by_the_tiers_of_both_month_ends(histories: list[Life]) -> None:
    """The tier at opening is the one that the month before closed with."""
    with override_settings(ACTIVITY_WINDOW_DAYS=WINDOW), transaction.atomic():
        frozen(histories)
        before: dict[int, str] = {}
        for number in MONTHS:
            groups = list(MemberGroup.objects.filter(month=number))
            if number != MONTHS[0]:
                opening = {key: group.opening_tier for group in groups if group.at_opening for key in group.keys}
                assert opening == before
            before = {key: group.closing_tier for group in groups if group.at_closing for key in group.keys}
            changes = Scope(Month.objects.get(pk=number)).tier_changes()
            # "A" < "B" < "C", and who was not there is no change.
            both = [group for group in groups if group.at_opening and group.at_closing]
            assert changes == {
                RISEN: sum(group.members for group in both if group.closing_tier < group.opening_tier),
                FALLEN: sum(group.members for group in both if group.closing_tier > group.opening_tier),
            }
        transaction.set_rollback(True)
