"""Duplicate cards: found, merged after a preview, taken apart; whose sales and whose figures they are from then on."""

import threading
from pathlib import Path

import pytest
from django.db import IntegrityError, connection, transaction

from commission.models import SaleLine, SalePart
from commission.settlement import settle_return
from kpis.card_merges import MergeChanged, apply_merge, preview_merge, take_back, twins
from kpis.member_purchases import purchases
from kpis.movement import movement
from kpis.tiers import member_spend
from payroll_exports.pay_run import close_month
from payroll_exports.roster import import_roster
from portfolios.duplicates import (
    MergeError,
    cards_of,
    credit_survivors,
    same_phone,
    shared_phones,
    surviving_card_sql,
    surviving_cards,
)
from portfolios.import_problems import ImportRefused
from portfolios.models import OPEN_END, Binding, BindingBatch, Clerk, Member, User
from portfolios.months import MonthError
from tests.concurrency import at_once
from tests.small_chain import SmallChain, day

PHONE = "13800138000"
TODAY = day("02-10")


@pytest.fixture
def chain(db: None) -> SmallChain:
    return SmallChain()


def merge(survivor: Member, card: Member, today: str = "02-10") -> BindingBatch:
    for one in (survivor, card):
        one.refresh_from_db()
    basis = preview_merge(survivor, card, today=day(today)).basis
    batch = apply_merge(survivor, card, today=day(today), basis=basis)
    for one in (survivor, card):
        one.refresh_from_db()
    return batch


def dates(card: Member) -> list[tuple[str, str, str, str]]:
    """The card's valid bindings: clerk, from, until, reason."""
    return [
        (row.clerk.clerk_no, f"{row.valid_from:%m-%d}", f"{row.valid_to:%m-%d}", row.reason)
        for row in Binding.objects.valid().filter(member=card).order_by("valid_from")
    ]


def books(chain: SmallChain, number: int) -> dict[str, dict[str, int]]:
    """Of each clerk with any, the figures of the month that are not zero."""
    names = (
        "opening enrolled closed closing active_opening newly_active reactivated lapsed active_closing tier_a".split()
    )
    figures = {
        row.clerk.clerk_no: {name: getattr(row, name) for name in names if getattr(row, name)}
        for row in movement(chain.month(number))
        if row.clerk
    }
    return {clerk_no: found for clerk_no, found in figures.items() if found}


# --- Finding -----------------------------------------------------------------------------------------------------


def test_open_cards_with_one_phone_are_found_for_each_of_their_stores(chain: SmallChain) -> None:
    first, second, elsewhere, closed, alone, *_without = (chain.member(f"M{n}", None) for n in range(1, 8))
    for card, phone in ((first, PHONE), (second, PHONE), (elsewhere, PHONE), (closed, "139"), (alone, "139")):
        Member.objects.filter(pk=card.pk).update(phone=phone)
    Member.objects.filter(pk=elsewhere.pk).update(store=chain.second)
    Member.objects.filter(pk=closed.pk).update(closed_on=day("02-01"), counted_to=day("02-01"))
    assert set(same_phone()) == {first, second, elsewhere}
    assert set(same_phone([chain.first.pk])) == {first, second}
    assert set(same_phone([chain.second.pk])) == {elsewhere}
    assert list(shared_phones()) == [PHONE]
    assert list(shared_phones([])) == []


def test_the_owned_and_then_the_oldest_card_is_put_first(chain: SmallChain) -> None:
    oldest, owned, younger = chain.member("M1", None), chain.member("M2", chain.li, "02-02"), chain.member("M3", None)
    Member.objects.filter(pk=younger.pk).update(enrolled_on=day("01-02"))
    Member.objects.update(phone=PHONE)
    (group,) = twins([PHONE], on=TODAY)
    assert group.cards == [(owned, chain.li), (oldest, None), (younger, None)]
    Clerk.objects.filter(pk=chain.li.pk).update(left_on=day("02-09"))
    (group,) = twins([PHONE], on=TODAY)
    assert [card for card, _owner in group.cards] == [oldest, younger, owned]


# --- Merging -----------------------------------------------------------------------------------------------------


def test_the_survivor_keeps_its_owner_and_the_other_card_closes(chain: SmallChain) -> None:
    survivor, card = chain.member("M1", chain.wang), chain.member("M2", chain.li)
    batch = merge(survivor, card)
    assert (card.closed_on, card.counted_to, card.merged_into, card.merged_by) == (TODAY, TODAY, survivor, batch)
    assert dates(card) == [("C1", "01-01", "02-10", "enrolment")]
    assert Binding.objects.get(member=card).ended_by == batch
    assert dates(survivor) == [("C2", "01-01", "12-31", "enrolment")]
    assert (survivor.closed_on, survivor.merged_into) == (None, None)
    assert (batch.source, batch.note) == ("merge", "M2 -> M1")


def test_a_survivor_without_an_owner_stays_without(chain: SmallChain) -> None:
    survivor, card = chain.member("M1", None), chain.member("M2", chain.li)
    merge(survivor, card)
    assert dates(survivor) == []


def test_the_card_closes_on_the_day_after_its_last_ticket(chain: SmallChain) -> None:
    survivor, card = chain.member("M1", chain.wang), chain.member("M2", chain.li)
    assert preview_merge(survivor, card, today=TODAY).on == TODAY
    chain.sale("02-09", (chain.li, 100), member=card)
    assert preview_merge(survivor, card, today=TODAY).on == TODAY
    chain.sale("02-10", (chain.li, 100), member=card)
    chain.sale("02-20", (chain.li, 100), member=survivor)
    assert preview_merge(survivor, card, today=TODAY).on == day("02-11")
    merge(survivor, card)
    assert (card.closed_on, dates(card)) == (day("02-11"), [("C1", "01-01", "02-11", "enrolment")])


def test_never_on_a_day_of_a_closed_month(chain: SmallChain) -> None:
    survivor, card = chain.member("M1", chain.wang), chain.member("M2", chain.li)
    chain.sale("01-05", (chain.li, 100), member=card)
    close_month(chain.month(202601), approved_by="test")
    assert preview_merge(survivor, card, today=day("01-20")).on == day("02-01")
    merge(survivor, card, today="01-20")
    assert card.counted_to == day("02-01")


def test_a_card_enrolled_today_is_left_no_day(chain: SmallChain) -> None:
    survivor, card = chain.member("M1", chain.wang), chain.member("M2", chain.li, "02-10")
    batch = merge(survivor, card)
    assert dates(card) == []
    assert Binding.objects.get(member=card).voided_by == batch
    take_back(batch)
    assert dates(card) == [("C1", "02-10", "12-31", "undo")]


def test_the_preview_says_what_will_be(chain: SmallChain) -> None:
    """In 12 months: M2 bought for 300.00 in two tickets, of which 50.00 came back; M1 for 100.00."""
    survivor, card = chain.member("M1", chain.wang), chain.member("M2", chain.li)
    chain.member("M3", chain.li)
    chain.sale("02-01", (chain.wang, 10_000), member=survivor)
    (bought,) = chain.sale("02-01", (chain.wang, 20_000), member=card)
    chain.sale("02-02", (chain.li, 10_000), member=card)
    chain.sale("02-03", (chain.li, -5_000), member=card, returns=bought)
    shown = preview_merge(survivor, card, today=TODAY)
    assert (shown.survivor.owner, shown.survivor.spend_amount, shown.survivor.purchases) == (chain.wang, 10_000, 1)
    assert (shown.card.owner, shown.card.spend_amount, shown.card.purchases) == (chain.li, 25_000, 2)
    assert (shown.survivor.last_ticket_on, shown.card.last_ticket_on) == (day("02-01"), day("02-03"))
    assert [(row.clerk, row.before, row.after) for row in shown.portfolios] == [
        (chain.wang, 1, 1),
        (chain.li, 2, 1),
    ]
    # Both of one clerk: one member less.
    one_owner = preview_merge(card, Member.objects.get(member_no="M3"), today=TODAY)
    assert [(row.clerk, row.before, row.after) for row in one_owner.portfolios] == [(chain.li, 2, 1)]


def test_what_has_changed_since_it_was_shown_is_shown_again(chain: SmallChain) -> None:
    survivor, card = chain.member("M1", chain.wang), chain.member("M2", chain.li)
    basis = preview_merge(survivor, card, today=TODAY).basis
    chain.sale("02-10", (chain.li, 100), member=card)
    with pytest.raises(MergeChanged, match="look at the merge again"):
        apply_merge(survivor, card, today=TODAY, basis=basis)
    card.refresh_from_db()
    assert (card.closed_on, BindingBatch.objects.filter(source="merge").count()) == (None, 0)


def test_a_card_is_no_survivor_of_itself_nor_is_one_that_is_closed_or_merged(chain: SmallChain) -> None:
    first, second, third, closed = (chain.member(f"M{n}", chain.li) for n in range(1, 5))
    Member.objects.filter(pk=closed.pk).update(closed_on=day("02-05"), counted_to=day("02-05"))
    closed.refresh_from_db()
    with pytest.raises(MergeError, match="M1 can't be merged into itself"):
        preview_merge(first, first, today=TODAY)
    for pair in ((closed, first), (first, closed)):
        with pytest.raises(MergeError, match="Card M4 is closed from 2026-02-05 on"):
            preview_merge(*pair, today=TODAY)
    merge(first, second)
    for pair in ((second, third), (third, second)):
        with pytest.raises(MergeError, match="Card M2 was merged into M1 already"):
            preview_merge(*pair, today=TODAY)


def test_the_database_refuses_a_merged_card_that_is_open_or_was_merged_by_nobody(chain: SmallChain) -> None:
    survivor, card = chain.member("M1", chain.wang), chain.member("M2", chain.li)
    merge(survivor, card)
    for change in ({"closed_on": None}, {"merged_by": None}, {"merged_into": None}):
        with pytest.raises(IntegrityError, match="merged_card_is_closed"), transaction.atomic():
            Member.objects.filter(pk=card.pk).update(**change)


# --- Taking it back ----------------------------------------------------------------------------------------------


def test_taken_back_the_card_is_open_and_bound_as_it_was(chain: SmallChain) -> None:
    survivor, card = chain.member("M1", chain.wang), chain.member("M2", chain.li)
    later = Binding.objects.valid().get(member=card)
    Binding.objects.filter(pk=later.pk).update(valid_to=day("03-01"), ended_by=chain.batch)
    Binding.objects.create(
        member=card, clerk=chain.zhang, valid_from=day("03-01"), reason="reassignment", batch=chain.batch
    )
    before = books(chain, 202602)
    batch = merge(survivor, card)
    assert books(chain, 202602) != before
    take_back(batch)
    card.refresh_from_db()
    assert (card.closed_on, card.counted_to, card.merged_into, card.merged_by) == (None, OPEN_END, None, None)
    assert dates(card) == [
        ("C1", "01-01", "02-10", "enrolment"),
        ("C1", "02-10", "03-01", "undo"),
        ("C3", "03-01", "12-31", "undo"),
    ]
    assert batch.undone_by.made.count() == 2
    assert books(chain, 202602) == before
    # Once only; and the cards may be merged again.
    with pytest.raises(MergeError, match="taken back already"):
        take_back(batch)
    merge(survivor, card)
    assert card.merged_into == survivor


def test_a_card_without_an_owner_is_taken_back_too(chain: SmallChain) -> None:
    survivor, card = chain.member("M1", chain.wang), chain.member("M2", None)
    batch = merge(survivor, card)
    take_back(batch)
    card.refresh_from_db()
    assert (card.closed_on, card.counted_to, card.merged_into) == (None, OPEN_END, None)
    assert batch.undone_by.source == "merge"


def test_not_after_a_sale_with_the_merged_card_s_number(chain: SmallChain) -> None:
    survivor, card = chain.member("M1", chain.wang), chain.member("M2", chain.li)
    batch = merge(survivor, card)
    chain.sale("02-09", (chain.li, 100), member=card)
    chain.sale("02-11", (chain.li, 100), member=survivor)
    with transaction.atomic():
        take_back(batch)
        transaction.set_rollback(True)
    chain.sale("02-12", (chain.li, 100), member=card)
    with pytest.raises(MergeError, match="card M2 was used on 2026-02-12"):
        take_back(batch)


def test_not_after_the_survivor_changed_or_was_merged_itself(chain: SmallChain) -> None:
    survivor, card, third = chain.member("M1", chain.wang), chain.member("M2", chain.li), chain.member("M3", None)
    batch = merge(survivor, card)
    with transaction.atomic():
        later = BindingBatch.objects.create(source="test")
        Binding.objects.filter(member=survivor).update(valid_to=day("02-20"), ended_by=later)
        with pytest.raises(MergeError, match="card M1 was changed since"):
            take_back(batch)
        transaction.set_rollback(True)
    onwards = merge(third, survivor)
    with pytest.raises(MergeError, match="card M1 was changed since"):
        take_back(batch)
    # The last one first, then the one before: nothing builds on that any more but the undo itself.
    take_back(onwards)
    with pytest.raises(MergeError, match="card M1 was changed since"):
        take_back(batch)


def test_not_once_its_month_is_closed(chain: SmallChain) -> None:
    survivor, card = chain.member("M1", chain.wang), chain.member("M2", chain.li)
    chain.sale("01-05", (chain.li, 100), member=card)
    batch = merge(survivor, card, today="01-20")
    close_month(chain.month(202601), approved_by="test")
    with pytest.raises(MonthError, match="2026-01-20, in a month that is closed"):
        take_back(batch)


# --- Which card stands for which ---------------------------------------------------------------------------------


def standing(card: Member, on: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {surviving_card_sql('%s', '%s')}", [card.pk, day(on)])
        return int(cursor.fetchone()[0])


def test_chains_lead_to_the_last_survivor_day_by_day(chain: SmallChain) -> None:
    """A into B from 02-10, C into B from 02-11, B into D from 02-15."""
    a, b, c, d, other = (chain.member(f"M{n}", chain.li) for n in "ABCDE")
    merge(b, a, today="02-10")
    merge(b, c, today="02-11")
    merge(d, b, today="02-15")
    assert surviving_cards(day("02-09")) == {}
    assert surviving_cards(day("02-10")) == {a.pk: b.pk}
    assert surviving_cards(day("02-14")) == {a.pk: b.pk, c.pk: b.pk}
    assert surviving_cards(day("02-15")) == {a.pk: d.pk, b.pk: d.pk, c.pk: d.pk}
    expected = {
        "02-09": [a, b, c, d, other],
        "02-10": [b, b, c, d, other],
        "02-12": [b, b, b, d, other],
        "02-15": [d, d, d, d, other],
    }
    for on, cards in expected.items():
        assert [standing(card, on) for card in (a, b, c, d, other)] == [card.pk for card in cards]
        assert surviving_cards(day(on)) == {
            card.pk: stands.pk for card, stands in zip((a, b, c, d, other), cards, strict=True) if card != stands
        }
    assert set(cards_of(d)) == {a.pk, b.pk, c.pk, d.pk}


def test_a_card_closes_no_earlier_than_the_cards_that_came_to_it(chain: SmallChain) -> None:
    a, b, c = (chain.member(f"M{n}", chain.li) for n in "ABC")
    chain.sale("02-10", (chain.li, 100), member=a)
    merge(b, a)
    assert a.counted_to == day("02-11")
    merge(c, b)
    assert b.counted_to == day("02-11")


def test_what_is_sold_with_a_merged_card_is_the_survivor_s(chain: SmallChain) -> None:
    survivor, card = chain.member("M1", chain.wang), chain.member("M2", chain.li)
    merge(survivor, card)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE sold (member_id bigint, business_date date)")
        cursor.executemany(
            "INSERT INTO sold VALUES (%s, %s)",
            [(card.pk, day("02-09")), (card.pk, day("02-10")), (survivor.pk, day("02-10")), (None, day("02-10"))],
        )
        credit_survivors("sold")
        cursor.execute("SELECT member_id FROM sold ORDER BY business_date, member_id IS NULL")
        assert [row[0] for row in cursor.fetchall()] == [card.pk, survivor.pk, survivor.pk, None]
        cursor.execute("DROP TABLE sold")


# --- Figures -----------------------------------------------------------------------------------------------------


def test_from_the_merge_on_the_survivor_counts_the_purchases_of_both(chain: SmallChain) -> None:
    """M2 bought in January, M1 never: on 01-31 李's M2 is active. Merged on 02-10, M1 is, for 王, on 02-28."""
    survivor, card = chain.member("M1", chain.wang), chain.member("M2", chain.li)
    chain.sale("01-20", (chain.li, 10_000), member=card)
    merge(survivor, card)
    assert books(chain, 202601) == {
        "C1": {"enrolled": 1, "closing": 1, "newly_active": 1, "active_closing": 1, "tier_a": 1},
        "C2": {"enrolled": 1, "closing": 1},
    }
    # The person had bought before: it is a reactivation, and 李's card lapses.
    assert books(chain, 202602) == {
        "C1": {"opening": 1, "closed": 1, "active_opening": 1, "lapsed": 1},
        "C2": {"opening": 1, "closing": 1, "reactivated": 1, "active_closing": 1, "tier_a": 1},
    }
    assert books(chain, 202603)["C2"] == {
        "opening": 1,
        "closing": 1,
        "active_opening": 1,
        "active_closing": 1,
        "tier_a": 1,
    }
    # 90 days after 01-20 are over on 04-20.
    assert books(chain, 202604)["C2"] == {"opening": 1, "closing": 1, "active_opening": 1, "lapsed": 1, "tier_a": 1}


def test_a_frozen_month_stays_and_its_closing_is_the_next_opening(chain: SmallChain) -> None:
    survivor, card = chain.member("M1", chain.wang), chain.member("M2", chain.li)
    chain.sale("01-20", (chain.li, 10_000), member=card)
    close_month(chain.month(202601), approved_by="test")
    merge(survivor, card)
    close_month(chain.month(202602), approved_by="test")
    close_month(chain.month(202603), approved_by="test")
    assert books(chain, 202604)["C2"]["active_opening"] == 1


def test_two_active_cards_become_one_active_member(chain: SmallChain) -> None:
    survivor, card = chain.member("M1", chain.wang), chain.member("M2", chain.li)
    for one in (survivor, card):
        chain.sale("01-20", (chain.li, 10_000), member=one)
    merge(survivor, card)
    found = books(chain, 202602)
    assert found["C1"] == {"opening": 1, "closed": 1, "active_opening": 1, "lapsed": 1}
    assert found["C2"] == {"opening": 1, "closing": 1, "active_opening": 1, "active_closing": 1, "tier_a": 1}


def test_the_survivor_shows_the_tickets_of_both_cards(chain: SmallChain) -> None:
    survivor, card, other = (chain.member(f"M{n}", chain.wang) for n in (1, 2, 3))
    for date, one, amount in (("01-20", card, 10_000), ("01-21", survivor, 5_000), ("01-22", other, 700)):
        chain.sale(date, (chain.li, amount), member=one)
    hr = User.objects.create(username="hr", office=User.Office.HR)
    merge(survivor, card)
    _page, shown = purchases(survivor, user=hr, number=1)
    assert [(one.sale.member_id, one.net_amount) for one in shown] == [(survivor.pk, 5_000), (card.pk, 10_000)]
    _page, shown = purchases(card, user=hr, number=1)
    assert [one.net_amount for one in shown] == [10_000]


def test_spend_is_added_up_and_ranked_once(chain: SmallChain) -> None:
    """Cards of 100.00 and 150.00 are one member of 250.00, ahead of 200.00: A of two, where it was B and C of three."""
    survivor, card, rival = (chain.member(f"M{n}", chain.wang) for n in (1, 2, 3))
    for one, amount in ((survivor, 10_000), (card, 15_000), (rival, 20_000)):
        chain.sale("01-20", (chain.li, amount), member=one)
    merge(survivor, card)
    assert member_spend(day("02-10")) == {survivor.pk: 25_000, rival.pk: 20_000}
    assert member_spend(day("02-09")) == {survivor.pk: 10_000, card.pk: 15_000, rival.pk: 20_000}
    assert books(chain, 202602)["C2"]["tier_a"] == 1


def test_spend_of_a_store_is_its_own_members_with_what_came_to_them(chain: SmallChain) -> None:
    here, there, came, went = (chain.member(f"M{n}", None) for n in range(1, 5))
    Member.objects.filter(pk__in=[there.pk, came.pk]).update(store=chain.second)
    for place, one in enumerate((here, there, came, went)):
        chain.sale("01-20", (chain.li, 10_000 * (place + 1)), member=one)
    assert member_spend(TODAY, store=chain.first) == {here.pk: 10_000, went.pk: 40_000}
    merge(here, came)
    merge(there, went)
    assert member_spend(TODAY, store=chain.first) == {here.pk: 40_000}
    assert member_spend(TODAY, store=chain.second) == {there.pk: 60_000}
    assert member_spend(day("02-09"), store=chain.first) == {here.pk: 10_000, went.pk: 40_000}


# --- What comes from outside ------------------------------------------------------------------------------------


def test_a_roster_neither_opens_nor_moves_a_merged_card(chain: SmallChain, tmp_path: Path) -> None:
    survivor, card = chain.member("M1", chain.wang), chain.member("M2", chain.li)
    merge(survivor, card)
    header = "member_no,name,phone,gender,birth_date,neighbourhood,store_no,enrolled_on,enrolled_by,closed_on\n"
    file = tmp_path / "members.csv"
    for closed_on in ("", "2026-02-20"):
        file.write_text(f"{header}M2,周敏,,,,,S1,2026-01-01,C1,{closed_on}\n", encoding="utf-8")
        with pytest.raises(ImportRefused) as refusal:
            import_roster(tmp_path, errors_path=tmp_path / "errors.txt")
        (problem,) = refusal.value.problems.shown
        assert (problem.row, problem.column) == (2, "closed_on")
        assert "was merged into another one, and is closed from 2026-02-10" in problem.reason
    file.write_text(f"{header}M2,周敏,,,,,S1,2026-01-01,C1,2026-02-10\n", encoding="utf-8")
    import_roster(tmp_path, errors_path=tmp_path / "errors.txt")
    card.refresh_from_db()
    assert (card.name, card.merged_into, card.counted_to) == ("周敏", survivor, TODAY)


def test_a_return_that_is_settled_with_a_merged_card_is_the_survivor_s(chain: SmallChain) -> None:
    survivor, card = chain.member("M1", chain.wang), chain.member("M2", chain.li)
    merge(survivor, card)
    (part,) = chain.sale("02-12", (chain.li, 0), member=card)
    SaleLine.objects.create(
        sale=part.sale,
        line_no=2,
        server=chain.li,
        product_no="P1",
        category=chain.otc,
        quantity_milli=-1000,
        net_amount=-5_000,
        is_return=True,
    )
    settle_return(store_no="S1", business_date=day("02-12"), ticket_no=part.sale.ticket_no, reason="no original")
    assert SalePart.objects.get(sale=part.sale, settled=True).member == survivor


# --- At once -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["crosswise", "twice"])
def test_at_once(scenario: str, shared_database: None) -> None:
    (raised,) = at_once(globals()[scenario])
    if raised is not None:
        raise raised


def crosswise() -> None:
    """M1 into M2 and M2 into M1 at the same moment: one of them is done."""
    chain = SmallChain()
    first, second = chain.member("M1", chain.wang), chain.member("M2", chain.li)
    together = threading.Barrier(2)

    def one(survivor: Member, card: Member) -> BindingBatch:
        basis = preview_merge(survivor, card, today=TODAY).basis
        together.wait(10)
        return apply_merge(survivor, card, today=TODAY, basis=basis)

    results = at_once(lambda: one(first, second), lambda: one(second, first))

    assert sorted(type(result).__name__ for result in results) == ["BindingBatch", "MergeError"], results
    assert Member.objects.filter(merged_into__isnull=False).count() == 1


def twice() -> None:
    chain = SmallChain()
    survivor, card = chain.member("M1", chain.wang), chain.member("M2", chain.li)
    basis = preview_merge(survivor, card, today=TODAY).basis
    together = threading.Barrier(2)

    def one() -> BindingBatch:
        together.wait(10)
        return apply_merge(survivor, card, today=TODAY, basis=basis)

    results = at_once(one, one)

    assert sorted(type(result).__name__ for result in results) == ["BindingBatch", "MergeError"], results
    assert BindingBatch.objects.filter(source="merge").count() == 1
