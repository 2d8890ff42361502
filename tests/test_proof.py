"""Closed months are proved: their digest, every row that it froze, and their money worked out again by the rules."""

import datetime as dt
import hashlib
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import models, transaction
from django.utils.translation import override
from pytest_django import DjangoDbBlocker

from commission.corrections import correct
from commission.ledger_proof import FrozenTable, blocks, differences, frozen, lines, month_digest, written
from commission.models import Attribution, Band, Booking, Plan, PlanProduct, PlanRate, Sale, SaleLine, SalePart
from commission.settlement import settle_return
from kpis.models import CohortMonth, MeasureMonth, MemberGroup, PortfolioMonth, ScoreLine, ScoreMonth, StoreMonth
from payroll_exports.models import EarningLine, Payslip, PayslipFile, ProofBlock, Salary
from payroll_exports.pay_run import close_month
from payroll_exports.payslip_files import payslip_pdf as fixed_pdf
from payroll_exports.proof import Finding, frozen_tables, seal, verify
from portfolios.models import Binding, Clerk, Month, Posting, Store
from tests.builders import Till, bind, day, line, make_chain, make_member, ticket
from tests.scorecards import scorecard
from tests.small_chain import SmallChain
from tests.tampering import behind_the_rules

pytestmark = pytest.mark.django_db

FROZEN = [
    Booking,
    Sale,
    SalePart,
    SaleLine,
    Attribution,
    PortfolioMonth,
    StoreMonth,
    MemberGroup,
    CohortMonth,
    MeasureMonth,
    ScoreMonth,
    ScoreLine,
    Payslip,
    EarningLine,
    PlanRate,
    PlanProduct,
    Band,
]

# When a binding ends, what ended it, and what it was before.
BINDING_ENDS = {"valid_to", "ended_by_id", "former_valid_to", "voided_by_id"}


def build(directory: Path) -> None:
    """Three closed months with every kind of sale, returns of all sorts, a settlement, a correction, a late ticket."""
    plan = make_chain(house_share_bp=7_000)
    Band.objects.bulk_create([Band(plan=plan, lower_amount=n, rate_bp=rate) for n, rate in ((0, 0), (10_000, 200))])
    for clerk in Clerk.objects.all():
        Posting.objects.create(clerk=clerk, store=Store.objects.earliest("pk"), role="clerk", valid_from=day("01-01"))
        Salary.objects.create(clerk=clerk, monthly_base_amount=310_000, valid_from=day("01-12"))
    scorecard("K1", 1_000, member_pay=(4_000, 8_000), effective_new=(6_000, 2))
    for card, since in (("M5", "2025-11-03"), ("M6", "2025-12-03"), ("M7", "2026-01-03")):
        make_member(card, "C2", since=since)
    till = Till(directory)
    till.load(
        ticket("T1", "01-05", line("200.00", by="C3"), member="M1"),
        ticket("T2", "01-06", line("100.00"), line("80.00", category="rx"), member="M1"),
        ticket("T3", "01-07", line("80.00", by="C2", product="UNIT", quantity="3")),
        ticket("T4", "01-08", line("1.67", by="C3"), member="M0"),
        ticket("W1", "01-09", line("-50.00", by="C3"), member="M1"),
        ticket("T5", "01-25", line("100.00", by="C3"), member="M1"),
    )
    till.load(ticket("R0", "01-26", line("-10.00", by="C3", of=("T5", "01-25", 1)), member="M1"))
    bind("M1", "C2", since="01-20")
    correct(since=day("01-20"), booking=Booking.objects.create(source="test"))
    settle_return(store_no="S1", business_date=day("01-09"), ticket_no="W1", reason="older than the system")
    close(202601)
    till.load(
        ticket("L1", "01-15", line("40.00"), member="M1"),
        ticket("R1", "02-05", line("-50.00", by="C1", of=("T1", "01-05", 1)), member="M1"),
        ticket("R2", "02-06", line("-30.00", by="C1", quantity="-1", of=("T3", "01-07", 1))),
        ticket("X1", "02-07", line("-50.00", by="C3", of=("T3", "01-07", 1)), line("120.00", by="C3"), member="M1"),
    )
    close(202602)
    till.load(ticket("R3", "03-05", line("-150.00", by="C1", of=("T1", "01-05", 1)), member="M1"))
    close(202603)


def close(number: int) -> None:
    close_month(Month.objects.get(pk=number), approved_by="test")


@pytest.fixture(scope="module")
def three_months(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    with django_db_blocker.unblock(), override("en"), transaction.atomic():
        build(tmp_path_factory.mktemp("till"))
        yield
        transaction.set_rollback(True)


def closed() -> list[Month]:
    return list(Month.objects.filter(closed_at__isnull=False).order_by("pk"))


def found() -> list[Finding]:
    return list(verify(closed()))


# --- What the digest is ------------------------------------------------------------------------------------------


def test_a_line_is_its_values_and_a_block_its_lines(db: None) -> None:
    """Written out by hand, so that the digest is the same whatever the database."""
    chain = SmallChain()
    chain.sale("01-05", (chain.zhang, 20_000), member=chain.member("M1", chain.li))
    close(202601)
    rows = EarningLine.objects.order_by("pk")
    first, second = [(row.pk, row.payslip_id) for row in rows]
    by_hand = [
        f'{first[0]},{first[1]},202601,"OWN_ABSENT",1,420'.encode(),
        f'{second[0]},{second[1]},202601,"COVERED",1,180'.encode(),
    ]
    table = frozen(rows)
    assert list(lines(table)) == [(first[0], by_hand[0]), (second[0], by_hand[1])]
    (block,) = blocks(table)
    assert block.digest == hashlib.sha256(by_hand[0] + b"\n" + by_hand[1]).hexdigest()
    assert (block.first_key, block.last_key, block.rows) == (first[0], second[0], 2)
    assert block.row_digests == b"".join(hashlib.sha256(text).digest()[:4] for text in by_hand)

    month = Month.objects.get(pk=202601)
    assert month.closed_at is not None
    at = month.closed_at.astimezone(dt.UTC).isoformat()
    head = f"('', 202601, datetime.date(2026, 1, 1), datetime.date(2026, 1, 31), '{at}', 'test')"
    short = hashlib.sha256(block.row_digests).hexdigest()
    sealed = (
        f"('payroll_exports_earningline', 1, 'id payslip_id month_id line_code quantity amount', "
        f"{first[0]}, {second[0]}, 2, '{short}', '{block.digest}')"
    )
    assert month_digest(month, "", [block]) == hashlib.sha256(f"{head}\n{sealed}".encode()).hexdigest()


def test_moments_and_documents_read_the_same_on_every_database(db: None) -> None:
    chain = SmallChain()
    (part,) = chain.sale("01-05", (chain.zhang, 20_000), ticket_no='票"1,')
    close(202601)
    ((key, text),) = lines(frozen(Sale.objects.all()))
    ticket = Sale.objects.get()
    # 10:00 in Shanghai is 02:00 in UTC; nobody's card is nothing, and a quotation mark stands twice.
    by_hand = f'{key},{ticket.store_id},2026-01-05,202601,"票""1,",2026-01-05T02:00:00.000000,,{ticket.booking_id}'
    assert (key, text.decode()) == (part.sale_id, by_hand)
    ((_key, text),) = lines(frozen(SaleLine.objects.all(), ("id", "excluded", "original_ticket_no", "is_return")))
    assert text == f"{SaleLine.objects.get().pk},f,,f".encode()
    documents = [text for _key, text in lines(frozen(Payslip.objects.all()))]
    assert all(b',"{""clerk_name"":""' in text for text in documents)


@pytest.mark.usefixtures("three_months")
class TestThreeMonths:
    def test_all_is_well(self) -> None:
        assert found() == []

    def test_each_digest_follows_from_the_one_before(self) -> None:
        january, february, march = closed()
        assert len({january.digest, february.digest, march.digest}) == 3
        assert all(len(month.digest) == 64 for month in closed())
        sealed = [block for table in frozen_tables(march) for block in blocks(table)]
        assert month_digest(march, february.digest, sealed) == march.digest
        assert month_digest(march, january.digest, sealed) != march.digest

    def test_a_database_that_writes_the_lines_itself_writes_the_same(self) -> None:
        for table in [table for month in closed() for table in frozen_tables(month)]:
            rows = table.rows.order_by("pk").values_list(*table.columns)
            assert [text for _key, text in lines(table)] == [written(row) for row in rows]

    def test_every_column_of_every_table_that_a_month_froze_is_digested(self) -> None:
        tables = {table.name: set(table.columns) for table in frozen_tables(closed()[0])}
        for model in FROZEN:
            assert tables[model._meta.db_table] == {field.column for field in model._meta.concrete_fields}

    @pytest.mark.parametrize(("model", "ends"), [(Plan, {"valid_to", "state"}), (Binding, BINDING_ENDS)])
    def test_what_a_month_rests_on_is_frozen_but_for_its_end(self, model: type[models.Model], ends: set[str]) -> None:
        table = self.fullest(model)
        fields = {field.column: field for field in model._meta.concrete_fields}
        assert set(table.columns) == set(fields) - ends
        row = next(iter(table.rows))
        for column in set(table.columns) - {"id"}:
            with behind_the_rules(model):
                value = another(getattr(row, fields[column].attname), fields[column])
                model._default_manager.filter(pk=row.pk).update(**{column: value})
                assert any(
                    finding.what == "frozen row" and f"{model._meta.db_table}, " in finding.where for finding in found()
                ), column

    def test_a_binding_of_a_member_who_buys_nothing_is_proved_too(self) -> None:
        with behind_the_rules(Binding):
            idle = Binding.objects.filter(member__sales=None).order_by("pk")[0]
            Binding.objects.filter(pk=idle.pk).update(clerk=Clerk.objects.exclude(pk=idle.clerk_id)[0])
            assert [(finding.month, finding.where.split(" (")[0]) for finding in found()] == [
                ("2026-01", f"portfolios_binding, row {idle.pk}")
            ]

    def test_a_part_is_frozen_by_one_month_only(self) -> None:
        keys: list[int] = []
        for month in closed():
            (parts,) = [table for table in frozen_tables(month) if table.rows.model is SalePart]
            keys += parts.rows.values_list("pk", flat=True)
        assert sorted(keys) == sorted(SalePart.objects.values_list("pk", flat=True))

    def fullest(self, model: type[models.Model]) -> FrozenTable:
        """What the month froze that has the most rows of the table."""
        tables = [table for month in closed() for table in frozen_tables(month) if table.rows.model is model]
        return max(tables, key=lambda table: table.rows.count())

    @pytest.mark.parametrize("model", FROZEN, ids=lambda model: model.__name__)
    def test_a_changed_byte_is_found_and_its_row_named(self, model: type[models.Model]) -> None:
        """Every column of a row in the middle, one after the other."""
        rows = list(self.fullest(model).rows)
        row = rows[len(rows) // 2]
        for field in model._meta.concrete_fields:
            if field.primary_key:
                continue
            with behind_the_rules(model):
                value = another(getattr(row, field.attname), field)
                model._default_manager.filter(pk=row.pk).update(**{field.attname: value})
                places = [finding.where for finding in found() if finding.what == "frozen row"]
                # A row that leaves the month is missing between its neighbours.
                assert any(f"{model._meta.db_table}, row {row.pk} (" in place for place in places) or any(
                    f"{model._meta.db_table}, between" in place for place in places
                ), (field.name, places)

    @pytest.mark.parametrize("model", FROZEN, ids=lambda model: model.__name__)
    def test_a_row_that_is_gone_is_missed_between_its_neighbours(self, model: type[models.Model]) -> None:
        table = self.fullest(model)
        keys = list(table.rows.order_by("pk").values_list("pk", flat=True))
        sealed = list(blocks(table))
        at = len(keys) // 2
        (difference,) = differences(table._replace(rows=table.rows.exclude(pk=keys[at])), sealed)
        between = (keys[at - 1] if at else 0, keys[at + 1] if at + 1 < len(keys) else keys[-1])
        assert difference == (model._meta.db_table, "removed", *between)

    @pytest.mark.parametrize("rows_per_block", [1, 2, 3, 1_000])
    def test_what_was_added_is_named_wherever_it_is(self, rows_per_block: int) -> None:
        (table,) = [table for table in frozen_tables(closed()[0]) if table.rows.model is Attribution]
        keys = list(table.rows.order_by("pk").values_list("pk", flat=True))
        for new in keys:
            without = table._replace(rows=table.rows.exclude(pk=new))
            sealed = list(blocks(without, rows_per_block))
            assert list(differences(without, sealed)) == []
            assert [tuple(d) for d in differences(table, sealed)] == [(table.name, "added", new, new)]
        empty = table._replace(rows=table.rows.none())
        (nothing,) = blocks(empty)
        assert (nothing.rows, len(list(differences(table, [nothing])))) == (0, len(keys))

    def test_the_months_own_row_and_the_proof_are_proved_too(self) -> None:
        values: dict[str, Any]
        for values in ({"closed_by": "somebody"}, {"digest": "0" * 64}, {"ends_on": day("01-30")}):
            with behind_the_rules(Month):
                Month.objects.filter(pk=202601).update(**values)
                (finding, *_others) = [finding for finding in found() if finding.what == "digest"]
                assert (finding.month, "month's own row" in finding.where) == ("2026-01", True)
        block = ProofBlock.objects.filter(month=202602, table="commission_sale").get()
        for values in ({"digest": "0" * 64}, {"row_digests": b"abcd" * block.rows}, {"rows": 0}, {"last_key": 10**9}):
            with behind_the_rules(ProofBlock):
                ProofBlock.objects.filter(pk=block.pk).update(**values)
                assert {finding.month for finding in found()} == {"2026-02"}
        with behind_the_rules(ProofBlock):
            ProofBlock.objects.filter(month=202602).delete()
            assert [finding.found for finding in found()] == ["none"]

    def test_a_file_whose_bytes_changed_is_found(self) -> None:
        with transaction.atomic():
            file = fixed_pdf(Payslip.objects.filter(month=202601, clerk__clerk_no="C1").get())
            assert found() == []
            with behind_the_rules(PayslipFile):
                PayslipFile.objects.filter(pk=file.pk).update(pdf=bytes(file.pdf)[:-1] + b"?")
                assert [(finding.what, finding.where) for finding in found()] == [("SHA-256", "PDF of clerk C1")]
            transaction.set_rollback(True)

    # --- Whoever makes new digests too is caught by the rules ------------------------------------------------------

    def by_the_rules(self) -> list[tuple[str, str, str, str]]:
        """What is found of months that were sealed again after the change."""
        ProofBlock.objects.all().delete()
        for month in Month.objects.filter(closed_at__isnull=False).order_by("pk"):
            Month.objects.filter(pk=month.pk).update(closed_at=None)
            digest = seal(month)
            Month.objects.filter(pk=month.pk).update(digest=digest, closed_at=month.closed_at)
        rows = found()
        assert not [finding for finding in rows if finding.what in ("digest", "frozen row")]
        return [(finding.month, finding.what, finding.expected, finding.found) for finding in rows]

    @pytest.fixture
    def no_rules(self) -> Iterator[None]:
        with behind_the_rules(Month, ProofBlock, Attribution, SaleLine, EarningLine, Binding, Salary):
            yield

    @pytest.mark.usefixtures("no_rules")
    def test_a_fen_from_owner_to_server(self) -> None:
        row = Attribution.objects.get(part__sale__ticket_no="T1")
        Attribution.objects.filter(pk=row.pk).update(owner_commission_amount=419, server_commission_amount=181)
        assert self.by_the_rules() == [
            ("2026-01", "owner commission", "420", "419"),
            ("2026-01", "server commission", "180", "181"),
        ]

    @pytest.mark.usefixtures("no_rules")
    def test_another_rate(self) -> None:
        PlanRate.objects.filter(category__category="otc").update(rate_bp=400)
        rows = self.by_the_rules()
        # T1 is 200.00: 8.00 instead of 6.00.
        assert ("2026-01", "commission", "800", "600") in rows
        assert ("2026-01", "owner commission", "560", "420") in rows

    @pytest.mark.usefixtures("no_rules")
    def test_another_owner(self) -> None:
        member = Binding.objects.get(member__member_no="M1", valid_from=dt.date(2025, 1, 1)).member
        Binding.objects.filter(member=member, valid_from=dt.date(2025, 1, 1)).update(
            clerk=Clerk.objects.get(clerk_no="C2")
        )
        rows = self.by_the_rules()
        # 李 had 4.20 of T1 and 3.00 of T2 in January; T5 and its return were corrected, to nothing.
        assert ("2026-01", "owner", "C2", "C1") in rows
        assert ("2026-01", "line OWN_ABSENT", "0.00 (2)", "4.20 (3)") in rows
        assert ("2026-01", "line OWN_SERVED", "none", "3.00 (1)") in rows
        # The return of February mirrors its original.
        assert ("2026-02", "owner", "C2", "C1") in rows

    @pytest.mark.usefixtures("no_rules")
    def test_another_net_amount(self) -> None:
        SaleLine.objects.filter(sale__ticket_no="T4").update(net_amount=267)
        # 2.67 at 3% is 0.08: 0.06 (5.6) for the house, 0.02 for the server.
        rows = self.by_the_rules()
        assert ("2026-01", "commissionable amount", "267", "167") in rows
        assert ("2026-01", "house commission", "6", "4") in rows
        assert ("2026-01", "server commission", "2", "1") in rows

    @pytest.mark.usefixtures("no_rules")
    def test_another_payslip_line(self) -> None:
        row = EarningLine.objects.get(month=202601, payslip__clerk__clerk_no="C1", line_code="OWN_ABSENT")
        EarningLine.objects.filter(pk=row.pk).update(amount=430)
        paid = row.payslip.paid_amount
        in_yuan = f"{paid // 100}.{paid % 100:02d}"
        assert self.by_the_rules() == [
            ("2026-01", "line OWN_ABSENT", "4.20 (3)", "4.30 (3)"),
            ("2026-01", "to be paid", f"{(paid + 10) // 100}.{(paid + 10) % 100:02d}", in_yuan),
            ("2026-01", "document", "the payslip's lines and amount", "others"),
        ]

    @pytest.mark.usefixtures("no_rules")
    def test_another_salary_and_another_band(self) -> None:
        Salary.objects.filter(clerk__clerk_no="C1").update(monthly_base_amount=311_000)
        # 20 of January's 31 days: 2,006.45 instead of 2,000.00.
        assert ("2026-01", "line BASE", "2006.45 (20)", "2000.00 (20)") in self.by_the_rules()

    @pytest.mark.usefixtures("no_rules")
    def test_a_row_booked_twice_and_one_not_at_all(self) -> None:
        row = Attribution.objects.get(part__sale__ticket_no="T3")
        row.pk = None
        Month.objects.filter(pk=202601).update(closed_at=None)
        row.save(force_insert=True)
        month = Month.objects.get(pk=202602)
        Month.objects.filter(pk=202601).update(closed_at=month.closed_at)
        Attribution.objects.filter(part__sale__ticket_no="T4").delete()
        rows = self.by_the_rules()
        assert ("2026-01", "rows that bring it in", "1", "2") in rows
        assert ("2026-01", "attribution", "one", "none") in rows

    # --- The command ---------------------------------------------------------------------------------------------

    def test_the_command_proves_a_month_or_all(self) -> None:
        out = StringIO()
        call_command("verify", stdout=out)
        assert out.getvalue().splitlines() == [f"{month} is proved. Digest: {month.digest}" for month in closed()]
        out = StringIO()
        call_command("verify", "2026-02", stdout=out)
        assert out.getvalue() == f"2026-02 is proved. Digest: {closed()[1].digest}\n"
        with pytest.raises(CommandError, match="2026-04 is open"):
            call_command("verify", "2026-04", stdout=out)
        with pytest.raises(CommandError, match="YYYY-MM"):
            call_command("verify", "April", stdout=out)

    def test_the_command_says_what_where_and_what_to_do(self) -> None:
        with behind_the_rules(Sale):
            sale = Sale.objects.get(ticket_no="T2")
            Sale.objects.filter(pk=sale.pk).update(sold_at=sale.sold_at + dt.timedelta(microseconds=1))
            out = StringIO()
            with pytest.raises(CommandError, match=r"^1 difference\.$"):
                call_command("verify", stdout=out)
        assert out.getvalue().splitlines()[:3] == [
            f"2026-01: commission_sale, row {sale.pk} (store S1, 2026-01-06, ticket T2): frozen row",
            "  expected: as at the close",
            "  found: changed",
        ]
        assert "Restore it from a backup" in out.getvalue()


def another(value: Any, field: Any) -> Any:
    """Another value of the same kind, which no other row of the table has."""
    if isinstance(field, models.JSONField):
        return {**value, "clerk_name": value["clerk_name"] + "?"}
    if isinstance(field, models.BooleanField):
        return not value
    if isinstance(field, models.DateTimeField):
        return value + dt.timedelta(microseconds=1)
    if isinstance(field, models.DateField):
        return value + dt.timedelta(days=1) if value else dt.date(2026, 1, 1)
    if isinstance(value, str) or (value is None and isinstance(field, models.CharField)):
        return f"{value}"[:-1] + "~"
    return (value or 0) + 100_003
