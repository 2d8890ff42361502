"""What a close and a night leave of the measures, and the pages that show them to clerk, manager and HR."""

from collections import Counter
from collections.abc import Iterator

import pytest
from django.db import connection
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.html import strip_tags
from pytest_django import DjangoDbBlocker

from kpis.definitions import GROUPS
from kpis.measure_models import SUMS, MeasureMonth
from kpis.measure_page import MEASURES
from kpis.measures import measured, refresh_measures
from kpis.models import PortfolioMonth
from kpis.movement_members import MEMBER_FIGURES
from kpis.movement_pictures import MOVEMENT
from payroll_exports.models import EarningLine, ProofBlock
from portfolios.models import Clerk, Month, Store
from tests.books import day
from tests.cast import Cast, one_cast, without_tokens

pytestmark = pytest.mark.django_db

JANUARY, FEBRUARY = 202601, 202602


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    yield from one_cast(django_db_blocker)


def row_of(month: int, clerk: Clerk | None, store: Store | None = None) -> Counter[str]:
    rows = measured(Month.objects.get(pk=month)).filter(clerk=clerk)
    row = (rows.filter(store=store) if store else rows).get()
    return Counter({name: getattr(row, name) for name in SUMS})


def test_active_members_are_those_of_the_movement(cast: Cast) -> None:
    rows = {(row.clerk_id, None if row.clerk_id else row.store_id): row for row in measured(cast.january)}
    books = PortfolioMonth.objects.filter(month=cast.january)
    assert {key: row.active_members for key, row in rows.items() if row.active_members} == {
        (book.clerk_id, None if book.clerk_id else book.store_id): book.active_closing
        for book in books
        if book.active_closing
    }
    assert {row.store_id for row in rows.values() if row.clerk_id is None} == {cast.first.pk, cast.chain.second.pk}


def test_variable_pay_is_that_of_the_payslips(cast: Cast) -> None:
    """李: own served 3.00, own absent 4.20: all from own members. 张: covered 1.80, none."""
    for row in MeasureMonth.objects.filter(month=JANUARY, clerk__isnull=False):
        lines = EarningLine.objects.filter(month=JANUARY, payslip__clerk=row.clerk)
        variable = lines.exclude(line_code__in=["BASE", "HELD", "CARRIED_IN", "CARRIED_OUT", "ADJUSTMENT"])
        own = lines.filter(line_code__in=["OWN_SERVED", "OWN_ABSENT"])
        for name, of in (("variable_pay_amount", variable), ("member_pay_amount", own)):
            assert getattr(row, name) == of.aggregate(sum=Sum("amount", default=0))["sum"]
    li, zhang = row_of(JANUARY, cast.chain.li), row_of(JANUARY, cast.chain.zhang)
    assert (li["member_pay_amount"], li["variable_pay_amount"]) == (720, 720)
    assert (zhang["member_pay_amount"], zhang["variable_pay_amount"]) == (0, 180)


def test_the_close_keeps_and_seals_them(cast: Cast) -> None:
    assert MeasureMonth.objects.filter(month=JANUARY, clerk=cast.chain.li).exists()
    assert ProofBlock.objects.filter(month=JANUARY, table=MeasureMonth._meta.db_table).exists()


def test_a_clerk_s_page_reads_no_ticket(cast: Cast) -> None:
    client = cast.client("clerk")
    refresh_measures(day("02-10"))
    for month in (JANUARY, FEBRUARY):
        with CaptureQueriesContext(connection) as queries:
            page = client.get(reverse("measures", args=[month, "clerk", "C1"]))
        assert page.status_code == 200
        assert len(queries) <= 20
        read = " ".join(query["sql"] for query in queries)
        assert not any(table in read for table in ("commission_sale", "commission_attribution", "portfolios_binding"))
    text = " ".join(strip_tags(page.content.decode()).split())
    assert "What was bought before 2026-02-10" in text
    # February: 9.00 of 9.00, and January: 7.20 of 7.20; the store's January is 7.20 of 9.00.
    january = client.get(reverse("measures", args=[JANUARY, "clerk", "C1"])).context["page"]
    assert [cell.text for cell in january.lines[5].cells] == ["100%", "–", "–", "80%"]
    assert [cell.text for cell in page.context["page"].lines[5].cells] == ["100%", "100%", "–", "100%"]


def test_a_clerk_sees_rank_and_index_and_no_colleague(cast: Cast) -> None:
    text = without_tokens(cast.client("clerk").get(reverse("measures", args=[JANUARY, "clerk", "C1"])))
    assert "In the store 1 of 2, index 125" in text
    assert "C3" not in text


def test_the_store_and_the_chain_list_their_parts(cast: Cast) -> None:
    store = cast.client("manager").get(reverse("measures", args=[JANUARY, "store", "S1"])).context["page"]
    assert [(row.number, row.cells[5].text) for row in store.rows] == [
        ("C1", "100%"), ("C2", "–"), ("C3", "0%"), ("", "–"),
    ]  # fmt: skip
    whole = cast.client("hr").get(reverse("measures", args=[JANUARY, "chain", "all"])).context["page"]
    # 赵's walk-in of 1.50: 7.20 of 10.50 are 69%.
    assert [(row.number, row.cells[5].text) for row in whole.rows] == [("S1", "80%"), ("S2", "0%")]
    assert whole.lines[5].cells[0].text == "69%"


def test_every_figure_of_the_pages_is_defined_once(cast: Cast) -> None:
    keys = [one.key for group in GROUPS for one in group.definitions]
    assert len(keys) == len(set(keys))
    assert {measure.key for measure in MEASURES} | set(MOVEMENT) | set(MEMBER_FIGURES) <= set(keys)
    page = cast.client("clerk").get(reverse("definitions")).content.decode()
    assert all(f'id="{key}"' in page for key in keys)
    shown = cast.client("clerk").get(reverse("measures", args=[JANUARY, "clerk", "C1"])).content.decode()
    assert all(f"{reverse('definitions')}#{measure.key}" in shown for measure in MEASURES)
