"""split_store: fair shares of what is unassigned, or of everything, from the right day on."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from commission.models import Attribution
from kpis.store_split import split_store
from portfolios.models import OPEN_END, Binding, BindingBatch, Clerk, Member, Month, Posting
from tests.small_chain import SmallChain, day

pytestmark = pytest.mark.django_db
Reason = Binding.Reason


@pytest.fixture
def chain() -> SmallChain:
    return SmallChain()


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> SmallChain:
    """A chain that no ticket has come to yet: no month is open."""
    monkeypatch.setattr("tests.small_chain.open_months", lambda first, last: None)
    return SmallChain()


def run(*args: str) -> str:
    out = io.StringIO()
    call_command("split_store", *args, stdout=out)
    return out.getvalue()


def counts(on: str = "10-01") -> dict[str, int]:
    """Members by owner on a date."""
    found: dict[str, int] = {}
    names = dict(Clerk.objects.values_list("pk", "clerk_no"))
    for owner in Member.objects.with_owner(day(on)).values_list("owner_id", flat=True):  # type: ignore[misc]
        found[names.get(owner, "-")] = found.get(names.get(owner, "-"), 0) + 1
    return found


def test_ten_members_among_three_clerks(chain: SmallChain) -> None:
    for number in range(10):
        chain.member(f"M{number}", None)
    report = split_store(chain.first)
    assert report.on == day("01-01")
    assert report.shared == 10
    assert counts() == {"C1": 4, "C2": 3, "C3": 3}
    assert set(Binding.objects.values_list("reason", "valid_from", "valid_to")) == {
        (Reason.INITIAL_SPLIT, day("01-01"), OPEN_END)
    }
    assert split_store(chain.first).shared == 0


def test_what_is_owned_already_counts(chain: SmallChain) -> None:
    for number in range(4):
        chain.member(f"A{number}", chain.li)
    for number in range(5):
        chain.member(f"M{number}", None)
    split_store(chain.first)
    assert counts() == {"C1": 4, "C2": 3, "C3": 2} or counts() == {"C1": 4, "C2": 2, "C3": 3}
    assert Binding.objects.filter(clerk=chain.li).count() == 4


def test_weights_and_managers(chain: SmallChain) -> None:
    Posting.objects.filter(clerk=chain.zhang).update(weight_percent=50)
    Posting.objects.filter(clerk=chain.wang).update(weight_percent=0)
    chain.clerk("C8", role=Posting.Role.MANAGER)
    for number in range(9):
        chain.member(f"M{number}", None)
    split_store(chain.first)
    assert counts() == {"C1": 6, "C3": 3}


def test_spend_of_the_year_before_is_balanced(chain: SmallChain) -> None:
    for number, amount in enumerate((90_00, 80_00, 20_00, 10_00)):
        member = chain.member(f"M{number}", None)
        chain.sale("02-10", (chain.li, amount), member=member)
    Posting.objects.filter(clerk=chain.zhang).delete()
    report = split_store(chain.first, on=day("03-01"))
    assert [row.spend_amount for row in report.after] == [100_00, 100_00]
    assert [row.spend_amount for row in report.before] == [0, 0]
    assert report.spread_after == 0


def test_a_leavers_members_are_shared_and_only_these(chain: SmallChain) -> None:
    for number in range(4):
        chain.member(f"L{number}", chain.li)
    kept = chain.member("W1", chain.wang)
    Clerk.objects.filter(pk=chain.li.pk).update(left_on=day("05-31"))
    split_store(chain.first, on=day("06-01"))
    assert counts("06-01") == {"C2": 3, "C3": 2} or counts("06-01") == {"C2": 2, "C3": 3}
    assert counts("05-31") == {"C1": 4, "C2": 1}
    shared = Binding.objects.filter(valid_from=day("06-01"))
    assert set(shared.values_list("reason", flat=True)) == {Reason.LEAVER}
    assert Binding.objects.filter(member=kept).count() == 1
    assert Binding.objects.filter(clerk=chain.li, valid_to=day("06-01")).count() == 4


def test_again_shares_everything(chain: SmallChain) -> None:
    for number in range(6):
        chain.member(f"M{number}", chain.li)
    assert split_store(chain.first, on=day("02-01")).shared == 0
    report = split_store(chain.first, on=day("02-01"), again=True)
    assert [row.members for row in report.before] == [6, 0, 0]
    assert [row.members for row in report.after] == [2, 2, 2]
    assert counts("01-31") == {"C1": 6}
    assert counts("02-01") == {"C1": 2, "C2": 2, "C3": 2}
    assert set(Binding.objects.filter(valid_from=day("02-01")).values_list("reason", flat=True)) == {Reason.REBALANCE}


def test_before_the_first_ticket_the_split_holds_since_the_store_can_sell(untouched: SmallChain) -> None:
    untouched.member("old", None, "2025-03-01")
    untouched.member("new", None, "2026-09-15")
    # Hired, and gone, before there was a plan to sell by; and hired afterwards.
    untouched.clerk("C0", since="2024-01-01", until=day("2025-12-31"))
    untouched.clerk("C9", since="02-01")
    report = split_store(untouched.first)
    assert (report.on, report.shared) == (day("01-01"), 2)
    assert [row.clerk_no for row in report.after] == ["C1", "C2", "C3"]
    assert dict(Binding.objects.values_list("member__member_no", "valid_from")) == {
        "old": day("01-01"),
        "new": day("09-15"),
    }
    assert split_store(untouched.first).shared == 0


def test_before_the_first_ticket_a_store_without_clerks_is_said(untouched: SmallChain) -> None:
    untouched.member("M1", None)
    Posting.objects.filter(store=untouched.second).delete()
    assert "S2 店2: nothing to share" in run("S2")
    Posting.objects.all().delete()
    with pytest.raises(CommandError, match="Store S1 has no clerk to take its members"):
        run("--all")


def test_later_bindings_stay(chain: SmallChain) -> None:
    member = chain.member("M1", None)
    Binding.objects.create(
        member=member, clerk=chain.zhao, valid_from=day("04-01"), reason=Reason.REASSIGNMENT, batch=chain.batch
    )
    split_store(chain.first)
    dates = Binding.objects.valid().order_by("valid_from").values_list("valid_from", "valid_to")
    assert list(dates) == [(day("01-01"), day("04-01")), (day("04-01"), OPEN_END)]


def test_booked_sales_are_corrected(chain: SmallChain) -> None:
    member = chain.member("M1", None)
    chain.sale("01-10", (chain.zhao, 200_00), member=member)
    Posting.objects.filter(clerk__in=[chain.wang, chain.zhang]).delete()
    report = split_store(chain.first)
    assert any("1 parts" in notice for notice in report.notices)
    assert list(Attribution.objects.order_by("pk").values_list("kind", "commission_amount", "owner__clerk_no")) == [
        ("UNOWNED", 600, None),
        ("UNOWNED", -600, None),
        ("SPLIT", 600, "C1"),
    ]


def test_a_closed_month_is_refused_and_the_first_open_day_is_the_default(chain: SmallChain) -> None:
    chain.member("M1", None)
    chain.month(202602)
    Month.objects.filter(pk=202601).update(closed_at=timezone.now())
    with pytest.raises(CommandError, match="2026-01-15, in a month that is closed"):
        run("S1", "--on", "2026-01-15")
    assert "shared from 2026-02-01" in run("S1")


def test_the_command_shows_and_tells(chain: SmallChain, settings: object) -> None:
    settings.MEMBERS_PER_CLERK_LIMIT = 3  # type: ignore[attr-defined]
    for number in range(10):
        chain.member(f"M{number}", None)
    dry = run("--all", "--dry-run")
    assert "10 members shared from 2026-01-01" in dry
    assert "Clerk C1 has 4 members, more than the 3" in dry
    assert "A dry run: nothing was changed." in dry
    assert not Binding.objects.exists()
    assert BindingBatch.objects.count() == 1
    assert "S2 店2: nothing to share" in run("--all")
    assert Binding.objects.count() == 10


def test_what_cannot_be_split_is_said(chain: SmallChain) -> None:
    chain.member("M1", None)
    with pytest.raises(CommandError, match=r"no store S9. The first ones are: S1, S2"):
        run("S9")
    with pytest.raises(CommandError, match="'20260101' is not a date: write it as YYYY-MM-DD"):
        run("S1", "--on", "20260101")
    Posting.objects.update(weight_percent=0)
    with pytest.raises(CommandError, match="none of the 3 clerks has a weight above 0"):
        run("S1")
    Posting.objects.filter(store=chain.first).delete()
    with pytest.raises(CommandError, match="No clerk is posted to store S1 on 2026-01-01"):
        run("S1")
    assert not Binding.objects.exists()
