"""The pages of movement: figures that open their members, files on record, pictures by hand, and who sees what."""

import csv
import io
from collections.abc import Iterator

import pypdfium2 as pdfium
import pytest
from auditlog.models import LogEntry
from django.db import connection
from django.template.loader import render_to_string
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.html import strip_tags
from python_calamine import CalamineWorkbook

from kpis.cohorts import Cohort, CohortShare, cohorts, heat_map
from kpis.definitions import GROUPS
from kpis.member_states import member_states
from kpis.models import CohortMonth, MemberGroup, StoreMonth
from kpis.month_lines import MonthEnd, month_ends, month_lines
from kpis.movement import freeze
from kpis.movement_members import FALLEN, RISEN, FigureMembers, Scope
from kpis.movement_page import movement_page
from kpis.store_comparison import store_bars
from payroll_exports.movement_pdf import movement_pdf
from portfolios.models import Binding, Clerk, Member, Month, Posting, Store
from portfolios.table_files import file_formats
from tests.books import Chain, close, day
from tests.cast import Cast, one_cast

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker) -> Iterator[Cast]:
    yield from one_cast(django_db_blocker)


def month(number: int) -> Month:
    return Month.objects.get(pk=number)


def freeze_all(*numbers: int) -> None:
    for number in numbers:
        freeze(member_states(month(number)))
        close(month(number))


def numbers(scope: Scope, figure: str) -> list[str]:
    return [move.member.member_no for move in FigureMembers(scope, figure)]


class Scene:
    """C1 and C2 of S1, C3 of S2. M1 goes from C1 to C2 and M2 from C1 to C3 in March; M3 waits on S1's list; C1 enrols
    M4 on 03-05, who buys that day. M1 bought in February, M2 in December and again in March."""

    def __init__(self) -> None:
        self.chain = chain = Chain(202512, 202606)
        self.first, self.second = chain.store(), chain.store()
        self.c1, self.c2, self.c3 = chain.clerk(self.first), chain.clerk(self.first), chain.clerk(self.second)
        m1, m2, _waits = (chain.member(self.first) for _n in range(3))
        m4 = chain.member(self.first, since="3-5")
        Member.objects.filter(pk=m4.pk).update(enrolled_by=self.c1)
        for member, taker in ((m1, self.c2), (m2, self.c3)):
            chain.bind(member, self.c1, until="3-10")
            chain.bind(member, taker, since="3-10")
        chain.bind(m4, self.c1, since="3-5")
        for member, on in ((m1, "2-1"), (m2, "2025-12-2"), (m2, "3-20"), (m4, "3-5")):
            chain.buy(member, on, 900)

    def scope(self, clerk: Clerk | None = None, store: Store | None = None, unassigned: bool = False) -> Scope:
        return Scope(month(202603), clerk=clerk, store=store, unassigned=unassigned)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_who_is_behind_each_figure_of_clerk_list_store_and_chain(scene: Scene) -> None:
    freeze_all(202602, 202603)
    c1, first = scene.scope(scene.c1), scene.scope(store=scene.first)
    assert {name: numbers(c1, name) for name in ("opening", "transferred_out", "enrolled", "closing")} == {
        "opening": ["M1", "M2"],
        "transferred_out": ["M1", "M2"],
        "enrolled": ["M4"],
        "closing": ["M4"],
    }
    assert numbers(c1, "newly_active") == ["M4"]
    assert numbers(scene.scope(store=scene.first, unassigned=True), "closing") == ["M3"]
    # M1 stays within the store; M2 leaves it, active before and after.
    assert sorted(numbers(first, "opening")) == ["M1", "M2", "M3"]
    assert (numbers(first, "transferred_out"), numbers(first, "active_out")) == (["M2"], ["M2"])
    assert sorted(numbers(first, "closing")) == ["M1", "M3", "M4"]
    assert numbers(scene.scope(store=scene.second), "active_in") == ["M2"]
    chain = scene.scope()
    assert sorted(numbers(chain, "active_closing")) == ["M1", "M2", "M4"]
    assert numbers(chain, "transferred_in") == numbers(chain, "active_out") == []
    row = StoreMonth.objects.get(month=202603, store=None)
    assert (row.opening, row.enrolled, row.closing, row.organic_growth, row.organic_active_growth) == (3, 1, 4, 1, 1)


def test_a_closed_month_s_lists_stay_whatever_comes_later(scene: Scene) -> None:
    freeze_all(202602, 202603)
    before = {name: sorted(numbers(scene.scope(store=scene.first), name)) for name in ("closing", "tier_a", "opening")}
    Member.objects.filter(member_no="M3").update(store=scene.second)
    Binding.objects.filter(member__member_no="M4").update(valid_to=day("4-2"))
    Posting.objects.filter(clerk=scene.c2).update(store=scene.second)
    freeze_all(202604)
    after = {name: sorted(numbers(scene.scope(store=scene.first), name)) for name in before}
    assert after == before
    # What a clerk carries to another home store goes with the clerk, in the month after; so does M3's list.
    april = Scope(month(202604), store=scene.first)
    assert sorted(numbers(april, "opening")) == before["closing"] == ["M1", "M3", "M4"]
    assert sorted(numbers(april, "transferred_out")) == ["M1", "M3"]


def test_who_rose_and_who_fell_by_clerk() -> None:
    """Six members spend 600, 500, 400, ... in January: A, B and four C. In February the last one spends 900: A; the
    first is B then, and the second C."""
    chain = Chain()
    store = chain.store()
    li, wang = chain.clerk(store), chain.clerk(store)
    members = [chain.member(store) for _n in range(6)]
    for place, member in enumerate(members):
        chain.bind(member, wang if place == 5 else li)
        chain.buy(member, "1-5", 600 - 100 * place)
    chain.buy(members[5], "2-5", 900)
    freeze_all(202601, 202602)
    february = month(202602)
    page = movement_page(Scope(february, store=store))
    assert page
    tiers = {row.number: [figure.value for figure in row.figures] for row in page.tables[2].rows}
    # A, B, rose, fell.
    assert tiers == {"C1": [0, 1, 0, 2], "C2": [1, 0, 1, 0], "": [0, 0, 0, 0]}
    assert [figure.value for figure in page.tables[2].total] == [1, 1, 1, 2]
    assert numbers(Scope(february, clerk=wang), RISEN) == ["M6"]
    assert numbers(Scope(february, clerk=li), FALLEN) == ["M1", "M2"]
    # In January two of the C members, who had bought nothing, became A and B.
    assert Scope(month(202601), clerk=li).tier_changes() == {RISEN: 2, FALLEN: 0}


def test_the_lines_are_the_closings_of_the_months(scene: Scene) -> None:
    freeze_all(202601, 202602, 202603)
    ends = [(end.month.pk, end.members, end.active, end.key_members) for end in month_ends(scene.scope(scene.c1))]
    assert ends == [(202601, 2, 1, 1), (202602, 2, 2, 2), (202603, 1, 1, 0)]
    lines = month_lines(month_ends(scene.scope()))
    assert lines
    assert [line.figure for line in lines.series] == ["4", "3", "1"]
    assert "2026-03: 4 members, 3 active" in lines.desc
    # One month alone is no line.
    assert month_lines([MonthEnd(month(202601), 1, 1, 0)]) is None
    assert "stroke-dasharray" in render_to_string("charts/month_lines.svg", {"chart": lines})


def test_cohorts_by_hand(scene: Scene) -> None:
    """C1 enrolled M4 in March, who is active at its end and, having bought nothing since, no more in June."""
    member = scene.chain.member(scene.first, since="3-20")
    Member.objects.filter(pk=member.pk).update(enrolled_by=scene.c1)
    freeze_all(202603, 202604, 202605, 202606)
    june = month(202606)
    expected = [CohortShare(2, 1), CohortShare(2, 1), CohortShare(2, 1), CohortShare(2, 0)]
    assert cohorts(Scope(june, clerk=scene.c1)) == [Cohort(202603, 2, [*expected])]
    assert cohorts(Scope(june, store=scene.second)) == []
    drawn = heat_map(cohorts(Scope(june)))
    assert drawn
    assert [cell.figure for cell in drawn.cells] == ["50", "50", "50", "0"]
    assert drawn.desc == "enrolled in 2026-03: 50%, 50%, 50%, 0%"
    assert CohortMonth.objects.filter(month=202606).count() == 1


@pytest.mark.parametrize(
    ("active", "members", "percent"), [(0, 3, 0), (3, 3, 100), (1, 3, 33), (1, 400, 1), (399, 400, 99), (1, 8, 13)]
)
def test_a_share_is_all_or_nothing_only_if_it_is(active: int, members: int, percent: int) -> None:
    assert CohortShare(members, active).percent == percent


def test_stores_by_organic_growth_losses_hatched(scene: Scene) -> None:
    def row(store: Store, **figures: int) -> StoreMonth:
        return StoreMonth(store=store, **{"newly_active": 0, "reactivated": 0, "lapsed": 0, **figures})

    rows = [row(scene.first, lapsed=9, newly_active=2), row(scene.second, reactivated=5)]
    chart = store_bars(rows)
    assert chart
    assert [(bar.number, bar.figure, bool(bar.strokes)) for bar in chart.bars] == [
        ("S2", "+5", False),
        ("S1", "−7", True),
    ]
    assert chart.desc == "Store 2 S2: +5; Store 1 S1: −7"
    assert store_bars(rows[:1]) is None


# --- On paper ----------------------------------------------------------------------------------------------------


def test_the_pdf_has_the_pictures_and_the_figures_of_the_page(scene: Scene) -> None:
    """The same drawings in its own font, in black and white too: every mark is there, and every figure is text."""
    freeze_all(202601, 202602, 202603)
    scope = scene.scope()
    page = movement_page(scope)
    assert page
    file = pdfium.PdfDocument(movement_pdf(scope, page))
    text = file[0].get_textpage().get_text_range()
    for words in ("Chain · Movement 2026-03", "Month by month", "Still active, by month of enrolment", "Newly active"):
        assert words in text
    # Two waterfalls, three lines with their points, a cell of a cohort, and no page without ink.
    paths = [kind for kind in (one.type for one in file[0].get_objects()) if kind == pdfium.raw.FPDF_PAGEOBJ_PATH]
    assert len(paths) > 20
    grey = file[0].render(scale=1).to_pil().convert("L")
    assert len({shade // 16 for _count, shade in grey.getcolors() or []}) > 4
    assert movement_pdf(scope, page) == movement_pdf(scope, page)
    file.close()


# --- Pages -------------------------------------------------------------------------------------------------------

JANUARY = 202601


def test_every_figure_on_a_page_opens_a_list_of_that_length(cast: Cast) -> None:
    seen = 0
    for person, kind, number in (("clerk", "clerk", "C1"), ("manager", "store", "S1"), ("hr", "chain", "all")):
        client = cast.client(person)
        page = client.get(reverse("movement", args=[JANUARY, kind, number])).context["page"]
        tables = [row.figures for table in page.tables for row in table.rows]
        for figure in [one for group in (page.members, page.active, page.tiers, *tables) for one in group]:
            if figure.url:
                assert client.get(figure.url).context["count"] == figure.value
                seen += 1
    assert seen > 20


def test_a_list_as_a_file_is_on_record(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kpis.movement_members.PIECE", 1)
    client = cast.client("manager")
    listed = client.get(reverse("movement_members", args=[JANUARY, "store", "enrolled", "S1"]))
    assert listed.context["count"] == 2
    url = dict(listed.context["files"])["CSV"]
    content = client.get(url).content.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(content)))
    assert [(row["member_no"], row["first_clerk_no"], row["last_clerk_no"]) for row in rows] == [
        ("M1", "C1", "C1"),
        ("M2", "", ""),
    ]
    assert "phone" not in content
    entry = LogEntry.objects.latest("pk")
    assert entry.additional_data == {"export": "2026-01-store-S1-enrolled.csv", "members": 2}
    assert entry.actor == cast.users["manager"]
    workbook = client.get(dict(listed.context["files"])["XLSX"]).content
    assert len(CalamineWorkbook.from_filelike(io.BytesIO(workbook)).get_sheet_by_index(0).to_python()) == 3


def test_a_workbook_ends_where_a_sheet_does() -> None:
    assert (file_formats(1_048_575), file_formats(1_048_576)) == (["csv", "xlsx"], ["csv"])


def test_an_open_month_says_when_it_comes(cast: Cast) -> None:
    response = cast.client("clerk").get(reverse("movement", args=[202602, "clerk", "C1"]))
    page = " ".join(strip_tags(response.content.decode()).split())
    assert "so it is worked out for good when the month closes. The last closed month, 2026-01" in page
    for name, of in (("measures", [202602, "clerk", "C1"]), ("clerk_portfolio", ["C1"])):
        assert f'href="{reverse(name, args=of)}"' in response.content.decode()
    assert (
        cast.client("clerk").get(reverse("movement_members", args=[202602, "clerk", "opening", "C1"])).status_code
        == 404
    )


def test_a_clerk_s_page_reads_no_ticket_and_a_bounded_number_of_queries(cast: Cast) -> None:
    client = cast.client("clerk")
    with CaptureQueriesContext(connection) as queries:
        assert client.get(reverse("movement", args=[JANUARY, "clerk", "C1"])).status_code == 200
    assert len(queries) <= 20
    read = " ".join(query["sql"] for query in queries)
    assert not any(table in read for table in ("commission_sale", "commission_attribution", "portfolios_binding"))


def test_every_heading_leads_to_how_it_is_counted(cast: Cast) -> None:
    response = cast.client("manager").get(reverse("movement", args=[JANUARY, "store", "S1"]))
    keys = [key for table in response.context["page"].tables for key, _name in table.headings]
    assert len(keys) == 17
    defined = {one.key for group in GROUPS for one in group.definitions}
    page = response.content.decode()
    for key in keys:
        # Once beside the figure of the whole, once over its column.
        assert page.count(f'href="{reverse("definitions")}#{key}"') >= 2
        assert key in defined


def test_pictures_have_a_title_and_say_their_figures(cast: Cast) -> None:
    page = cast.client("hr").get(reverse("movement", args=[JANUARY, "chain", "all"])).content.decode()
    for chart in ("movement-waterfall", "cohorts", "differences-chart"):
        start = page.index(f'class="chart {chart}"')
        drawn = page[start : page.index("</svg>", start)]
        assert 'role="img"' in drawn
        assert "<title" in drawn
        assert "<desc" in drawn


def test_the_kept_groups_are_those_of_the_chain(cast: Cast) -> None:
    assert sum(MemberGroup.objects.filter(month=JANUARY).values_list("members", flat=True)) == 2
