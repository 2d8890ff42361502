"""The movement of each book: every kind of change worked by hand. Random histories: test_movement_properties."""

from collections.abc import Iterable
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from kpis.member_states import member_states
from kpis.models import MemberGroup, PortfolioMonth
from kpis.movement import FIGURES, MovementError, freeze, movement, portfolio_months
from portfolios.models import Member, Month
from tests.books import Chain, close, day

pytestmark = pytest.mark.django_db


def march() -> Month:
    return Month.objects.get(pk=202603)


def figures(rows: Iterable[PortfolioMonth]) -> dict[str, dict[str, int]]:
    """By clerk number, or store number for an unassigned list: the figures that are not zero."""
    return {
        row.clerk.clerk_no if row.clerk else row.store.store_no if row.store else "": {
            name: getattr(row, name) for name in FIGURES if getattr(row, name)
        }
        for row in rows
    }


class Scene:
    """Two clerks of one store: C1 and C2, whose unassigned list is S1's."""

    def __init__(self, first_month: int = 202601) -> None:
        self.chain = Chain(first_month, 202606)
        self.store = self.chain.store()
        self.li, self.wang = self.chain.clerk(self.store), self.chain.clerk(self.store)

    def books(self) -> dict[str, dict[str, int]]:
        return {book: found for book, found in figures(movement(march())).items() if found}


@pytest.fixture
def scene() -> Scene:
    return Scene()


# Members


def test_who_stays_is_opening_and_closing(scene: Scene) -> None:
    scene.chain.bind(scene.chain.member(scene.store), scene.li)
    scene.chain.member(scene.store)
    assert scene.books() == {"C1": {"opening": 1, "closing": 1}, "S1": {"opening": 1, "closing": 1}}


@pytest.mark.parametrize("since", ["3-1", "3-2", "3-31"])
def test_moved_within_the_month_is_out_and_in(scene: Scene, since: str) -> None:
    """What takes effect on the first day or the last belongs to the month."""
    member = scene.chain.member(scene.store)
    scene.chain.bind(member, scene.li, until=since)
    scene.chain.bind(member, scene.wang, since=since)
    assert scene.books() == {
        "C1": {"opening": 1, "transferred_out": 1},
        "C2": {"transferred_in": 1, "closing": 1},
    }


@pytest.mark.parametrize(("since", "owner"), [("2-28", "C2"), ("4-1", "C1")])
def test_moved_outside_the_month_is_not_its_movement(scene: Scene, since: str, owner: str) -> None:
    member = scene.chain.member(scene.store)
    scene.chain.bind(member, scene.li, until=since)
    scene.chain.bind(member, scene.wang, since=since)
    assert scene.books() == {owner: {"opening": 1, "closing": 1}}


def test_moved_there_and_back_is_no_movement(scene: Scene) -> None:
    member = scene.chain.member(scene.store)
    scene.chain.bind(member, scene.li, until="3-5")
    scene.chain.bind(member, scene.wang, since="3-5", until="3-20")
    scene.chain.bind(member, scene.li, since="3-20")
    assert scene.books() == {"C1": {"opening": 1, "closing": 1}}


def test_a_voided_binding_is_none(scene: Scene) -> None:
    member = scene.chain.member(scene.store)
    scene.chain.bind(member, scene.wang, since="3-5", voided=True)
    scene.chain.bind(member, scene.li)
    assert scene.books() == {"C1": {"opening": 1, "closing": 1}}


def test_assigned_from_the_list_and_given_back_to_it(scene: Scene) -> None:
    scene.chain.bind(scene.chain.member(scene.store), scene.li, since="3-10")
    assert scene.books() == {
        "C1": {"transferred_in": 1, "closing": 1},
        "S1": {"opening": 1, "transferred_out": 1},
    }
    scene.chain.bind(scene.chain.member(scene.store), scene.wang, until="3-10")
    assert scene.books() == {
        "C1": {"transferred_in": 1, "closing": 1},
        "C2": {"opening": 1, "transferred_out": 1},
        "S1": {"opening": 1, "transferred_in": 1, "transferred_out": 1, "closing": 1},
    }


@pytest.mark.parametrize("since", ["3-1", "3-31"])
def test_enrolled_for_the_clerk_who_enrols(scene: Scene, since: str) -> None:
    scene.chain.bind(scene.chain.member(scene.store, since=since), scene.li, since=since)
    assert scene.books() == {"C1": {"enrolled": 1, "closing": 1}}


def test_enrolled_without_a_clerk_is_enrolled_on_the_list(scene: Scene) -> None:
    scene.chain.member(scene.store, since="3-3")
    assert scene.books() == {"S1": {"enrolled": 1, "closing": 1}}


def test_enrolled_and_first_bound_later_in_the_month_is_enrolled_for_that_clerk(scene: Scene) -> None:
    scene.chain.bind(scene.chain.member(scene.store, since="3-3"), scene.li, since="3-31")
    assert scene.books() == {"C1": {"enrolled": 1, "closing": 1}}


def test_enrolled_and_first_bound_a_month_later_is_in_from_the_list(scene: Scene) -> None:
    scene.chain.bind(scene.chain.member(scene.store, since="2-28"), scene.li, since="3-1")
    assert scene.books() == {
        "C1": {"transferred_in": 1, "closing": 1},
        "S1": {"opening": 1, "transferred_out": 1},
    }


def test_enrolled_by_one_and_moved_to_another(scene: Scene) -> None:
    member = scene.chain.member(scene.store, since="3-3")
    scene.chain.bind(member, scene.li, since="3-3", until="3-20")
    scene.chain.bind(member, scene.wang, since="3-20")
    assert scene.books() == {
        "C1": {"enrolled": 1, "transferred_out": 1},
        "C2": {"transferred_in": 1, "closing": 1},
    }


def test_enrolled_by_one_and_given_to_the_list(scene: Scene) -> None:
    scene.chain.bind(scene.chain.member(scene.store, since="3-3"), scene.li, since="3-3", until="3-20")
    assert scene.books() == {
        "C1": {"enrolled": 1, "transferred_out": 1},
        "S1": {"transferred_in": 1, "closing": 1},
    }


@pytest.mark.parametrize("closed", ["3-1", "3-15", "3-31"])
def test_closed_is_closed_for_the_opening_owner(scene: Scene, closed: str) -> None:
    """Whoever held the card in between; a card that closes on the first day was still there at opening."""
    member = scene.chain.member(scene.store, until=closed)
    scene.chain.bind(member, scene.li, until="3-1")
    scene.chain.bind(member, scene.wang, since="3-1")
    scene.chain.member(scene.store, until=closed)
    assert scene.books() == {"C1": {"opening": 1, "closed": 1}, "S1": {"opening": 1, "closed": 1}}


def test_a_card_that_closes_after_the_last_day_is_there_at_closing(scene: Scene) -> None:
    scene.chain.bind(scene.chain.member(scene.store, until="4-1"), scene.li)
    scene.chain.bind(scene.chain.member(scene.store, until="2-28"), scene.li)
    assert scene.books() == {"C1": {"opening": 1, "closing": 1}}


@pytest.mark.parametrize("closed", ["3-3", "3-25"])
def test_enrolled_and_closed_is_both_for_the_first_owner(scene: Scene, closed: str) -> None:
    member = scene.chain.member(scene.store, since="3-3", until=closed)
    scene.chain.bind(member, scene.li, since="3-3", until="3-20")
    scene.chain.bind(member, scene.wang, since="3-20")
    scene.chain.member(scene.store, since="3-3", until=closed)
    assert scene.books() == {"C1": {"enrolled": 1, "closed": 1}, "S1": {"enrolled": 1, "closed": 1}}


def test_a_leaver_keeps_the_book_until_it_is_handed_over(scene: Scene) -> None:
    scene.li.left_on = day("2-15")
    scene.li.save()
    kept, handed_over = scene.chain.member(scene.store), scene.chain.member(scene.store)
    scene.chain.bind(kept, scene.li)
    scene.chain.bind(handed_over, scene.li, until="3-9")
    scene.chain.bind(handed_over, scene.wang, since="3-9")
    assert scene.books() == {
        "C1": {"opening": 2, "transferred_out": 1, "closing": 1},
        "C2": {"transferred_in": 1, "closing": 1},
    }


# Active members: 90 days up to and including the day. Of March's opening (02-28) they begin on 2025-12-01, of its
# closing (03-31) on 2026-01-01.


@pytest.fixture
def bound(scene: Scene) -> Member:
    member = scene.chain.member(scene.store)
    scene.chain.bind(member, scene.li)
    return member


def active(scene: Scene, clerk_no: str = "C1") -> dict[str, int]:
    names = ("active_opening", "newly_active", "reactivated", "active_in", "active_out", "lapsed", "active_closing")
    return {name: n for name, n in scene.books().get(clerk_no, {}).items() if name in names}


@pytest.mark.parametrize(
    ("bought", "expected"),
    [
        ([], {}),
        (["2025-11-30"], {}),
        (["2025-12-1"], {"active_opening": 1, "lapsed": 1}),
        (["2025-12-31"], {"active_opening": 1, "lapsed": 1}),
        (["1-1"], {"active_opening": 1, "active_closing": 1}),
        (["2-28"], {"active_opening": 1, "active_closing": 1}),
        (["3-1"], {"newly_active": 1, "active_closing": 1}),
        (["3-31"], {"newly_active": 1, "active_closing": 1}),
        (["4-1"], {}),
        (["2025-11-30", "3-1"], {"reactivated": 1, "active_closing": 1}),
        (["2025-12-1", "3-1"], {"active_opening": 1, "active_closing": 1}),
    ],
)
def test_active_by_the_state_at_opening_and_at_closing(bought: list[str], expected: dict[str, int]) -> None:
    scene = Scene(first_month=202511)
    member = scene.chain.member(scene.store)
    scene.chain.bind(member, scene.li)
    for on in bought:
        scene.chain.buy(member, on)
    assert active(scene) == expected


def test_the_window_is_a_setting(scene: Scene, bound: Member, settings: Any) -> None:
    scene.chain.buy(bound, "2-28")
    settings.ACTIVITY_WINDOW_DAYS = 31
    assert active(scene) == {"active_opening": 1, "lapsed": 1}
    settings.ACTIVITY_WINDOW_DAYS = 32
    assert active(scene) == {"active_opening": 1, "active_closing": 1}


def test_a_return_is_no_purchase_and_takes_none_away(scene: Scene, bound: Member) -> None:
    bought = scene.chain.buy(bound, "1-20")
    scene.chain.buy(bound, "1-21", -100, original=bought)
    other = scene.chain.member(scene.store)
    scene.chain.bind(other, scene.wang)
    scene.chain.buy(other, "3-5", -100, settled=True)
    assert active(scene) == {"active_opening": 1, "active_closing": 1}
    assert active(scene, "C2") == {}


def test_a_late_ticket_counts_from_the_month_it_is_posted_to(scene: Scene, bound: Member) -> None:
    """Bought on 02-10, booked after February had closed: nothing at opening, newly active in March."""
    scene.chain.buy(bound, "2-10", posted=202603)
    assert active(scene) == {"newly_active": 1, "active_closing": 1}


def test_a_late_return_keeps_no_one_active(scene: Scene, bound: Member) -> None:
    bought = scene.chain.buy(bound, "1-1")
    scene.chain.buy(bound, "2-1", -100, original=bought, posted=202604)
    assert active(scene) == {"active_opening": 1, "active_closing": 1}


def test_active_members_who_move_are_out_and_in(scene: Scene) -> None:
    member = scene.chain.member(scene.store)
    scene.chain.bind(member, scene.li, until="3-5")
    scene.chain.bind(member, scene.wang, since="3-5")
    scene.chain.buy(member, "2-1")
    scene.chain.buy(member, "3-6")
    assert active(scene) == {"active_opening": 1, "active_out": 1}
    assert active(scene, "C2") == {"active_in": 1, "active_closing": 1}


def test_who_moves_and_turns_active_does_so_for_the_owner_at_closing(scene: Scene) -> None:
    for on in ("3-4", "3-6"):
        member = scene.chain.member(scene.store)
        scene.chain.bind(member, scene.li, until="3-5")
        scene.chain.bind(member, scene.wang, since="3-5")
        scene.chain.buy(member, on)
    assert active(scene) == {}
    assert active(scene, "C2") == {"newly_active": 2, "active_closing": 2}


def test_who_moves_and_lapses_does_so_for_the_owner_at_opening() -> None:
    scene = Scene(first_month=202512)
    member = scene.chain.member(scene.store)
    scene.chain.bind(member, scene.li, until="3-5")
    scene.chain.bind(member, scene.wang, since="3-5")
    scene.chain.buy(member, "2025-12-20")
    assert active(scene) == {"active_opening": 1, "lapsed": 1}
    assert active(scene, "C2") == {}


def test_a_closed_card_that_was_active_is_lapsed_for_its_opening_owner(scene: Scene) -> None:
    member = scene.chain.member(scene.store, until="3-15")
    scene.chain.bind(member, scene.li)
    scene.chain.buy(member, "3-1")
    scene.chain.buy(member, "2-1")
    assert scene.books() == {"C1": {"opening": 1, "closed": 1, "active_opening": 1, "lapsed": 1}}


def test_an_enrolled_member_is_newly_active_or_brings_a_past(scene: Scene) -> None:
    """A card that was known late has bought before it counted: it was in no book then, and is reactivated."""
    for on in ("3-5", "2-5"):
        member = scene.chain.member(scene.store, since="3-3")
        scene.chain.bind(member, scene.li, since="3-3", until="3-20")
        scene.chain.bind(member, scene.wang, since="3-20")
        scene.chain.buy(member, on)
    assert active(scene) == {}
    assert active(scene, "C2") == {"newly_active": 1, "reactivated": 1, "active_closing": 2}


def test_enrolled_bought_and_closed_was_never_active(scene: Scene) -> None:
    member = scene.chain.member(scene.store, since="3-3", until="3-20")
    scene.chain.bind(member, scene.li, since="3-3")
    scene.chain.buy(member, "3-4")
    assert active(scene) == {}


def test_key_members_are_those_of_the_owner_at_closing(scene: Scene) -> None:
    """Of six, the first is A and the second B; the first moves, and the third's card closes."""
    for place, amount in enumerate((600, 500, 400, 300, 200, 100)):
        member = scene.chain.member(scene.store, until="3-9" if place == 2 else "")
        scene.chain.bind(member, scene.li, until="3-5")
        scene.chain.bind(member, scene.wang if place == 0 else scene.li, since="3-5")
        scene.chain.buy(member, "2-2", amount)
    books = scene.books()
    assert (books["C1"].get("tier_a"), books["C1"].get("tier_b")) == (None, 1)
    assert (books["C2"].get("tier_a"), books["C2"].get("tier_b")) == (1, None)


# Rows


def test_one_row_for_each_posted_clerk_and_each_store(scene: Scene) -> None:
    chain = scene.chain
    elsewhere = chain.store()
    chain.clerk(scene.store, until=day("3-1"))
    chain.clerk(scene.store, since="4-1")
    chain.clerk(scene.store, since="3-31")
    leaver = chain.clerk(scene.store)
    leaver.left_on = day("2-28")
    leaver.save()
    chain.bind(chain.member(scene.store), chain.clerk())
    rows = movement(march())
    assert set(figures(rows)) == {"C1", "C2", "C5", "C7", "S1", "S2"}
    assert {row.store for row in rows if row.clerk is None} == {scene.store, elsewhere}


def test_the_store_of_a_row_is_the_home_store_on_the_last_posted_day(scene: Scene) -> None:
    chain = scene.chain
    other = chain.store()
    moved = chain.clerk(scene.store, until=day("3-16"))
    moved.postings.create(store=other, role="clerk", valid_from=day("3-16"))
    moving = chain.clerk(scene.store, until=day("4-1"))
    moving.postings.create(store=other, role="clerk", valid_from=day("4-1"))
    last_known, never = chain.clerk(other, until=day("2-1")), chain.clerk()
    never.postings.create(store=other, role="manager", valid_from=day("1-1"))
    for clerk in (last_known, never):
        chain.bind(chain.member(scene.store), clerk)
    stores = {row.clerk: row.store for row in movement(march()) if row.clerk}
    assert [stores[clerk] for clerk in (moved, moving, last_known, never)] == [other, scene.store, other, None]


def test_a_month_from_the_26th_has_its_own_first_and_last_day(settings: Any) -> None:
    settings.CUT_OFF_DAY = 26
    scene = Scene()
    for since in ("2-25", "2-26", "3-25", "3-26"):
        scene.chain.bind(scene.chain.member(scene.store, since=since), scene.li, since=since)
    assert scene.books() == {"C1": {"opening": 1, "enrolled": 2, "closing": 3}}


# Freezing


def test_what_is_frozen_stays_whatever_comes_later(scene: Scene, bound: Member) -> None:
    frozen = figures(freeze(member_states(march())))
    close(march())
    scene.chain.bind(scene.chain.member(scene.store), scene.wang)
    assert figures(portfolio_months(march())) == frozen
    assert frozen["C1"] == {"opening": 1, "closing": 1}
    with pytest.raises(IntegrityError), transaction.atomic():
        freeze(member_states(march()))


def test_what_is_frozen_is_written_in_order(scene: Scene) -> None:
    """The same month made twice has the same digest: groups by the way that their members went, members by key."""
    members = [scene.chain.member(scene.store) for _number in range(6)]
    for place, member in enumerate(reversed(members)):
        scene.chain.bind(member, scene.wang if place % 2 else scene.li)
    freeze(member_states(march()))
    groups = MemberGroup.objects.order_by("pk").values_list("last_clerk__clerk_no", "member_ids")
    keys = [member.pk for member in members]
    assert list(groups) == [
        ("C1", f"{keys[1]},{keys[3]},{keys[5]}"),
        ("C2", f"{keys[0]},{keys[2]},{keys[4]}"),
    ]


def test_a_month_is_frozen_once(scene: Scene) -> None:
    freeze(member_states(march()))
    with pytest.raises(IntegrityError), transaction.atomic():
        freeze(member_states(march()))


def frozen_february() -> None:
    february = Month.objects.get(pk=202602)
    freeze(member_states(february))
    close(february)


def test_a_closing_that_is_not_the_next_opening_is_refused(scene: Scene, bound: Member) -> None:
    frozen_february()
    scene.chain.bind(scene.chain.member(scene.store), scene.wang, since="2-10")
    with pytest.raises(MovementError, match=r"^C2 Clerk 2: opening is 1, but closing of the month .* frozen at 0\. "):
        movement(march())
    with pytest.raises(MovementError, match=r"^C2 Clerk 2: opening is 1"):
        freeze(member_states(march()))


def test_an_active_closing_that_is_not_the_next_opening_is_refused(scene: Scene, bound: Member, settings: Any) -> None:
    scene.chain.buy(bound, "1-5")
    frozen_february()
    settings.ACTIVITY_WINDOW_DAYS = 10
    with pytest.raises(MovementError, match=r"^C1 Clerk 1: active_opening is 0, but active_closing .* frozen at 1\."):
        movement(march())


def test_a_book_that_vanished_is_refused(scene: Scene) -> None:
    member = scene.chain.member(scene.store)
    frozen_february()
    Member.objects.filter(pk=member.pk).update(counted_from=day("3-5"))
    with pytest.raises(MovementError, match=r"^The unassigned lists: opening is 0, but closing .* frozen at 1\."):
        movement(march())


def test_who_waits_unassigned_and_changes_home_store_goes_from_list_to_list(scene: Scene, bound: Member) -> None:
    other = scene.chain.store()
    member = scene.chain.member(scene.store)
    scene.chain.buy(member, "2-2")
    frozen_february()
    Member.objects.filter(pk__in=[member.pk, bound.pk]).update(store=other)
    assert scene.books() == {
        "C1": {"opening": 1, "closing": 1},
        "S1": {"opening": 1, "transferred_out": 1, "active_opening": 1, "active_out": 1},
        "S2": {"transferred_in": 1, "closing": 1, "active_in": 1, "active_closing": 1, "tier_a": 1},
    }
