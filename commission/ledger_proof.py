"""The digest of what a closed month froze, chained to the month before, so that a changed byte is found and named.

Each table's rows are written as lines, in the order of their keys, and digested in blocks of 1,000; the month's digest
is the SHA-256 over the month before's, the month's own row and its blocks. The line of an earning line with key 7, in
payslip 3 of 2026-01, two tickets and 4.20 is `7,3,202601,"OWN_ABSENT",2,420`, on PostgreSQL as on SQLite.

PostgreSQL writes the lines of its tables itself, and where a month is compared with what was sealed it digests the
blocks too: of millions of rows only the digests reach Python, and the rows of a table that differs.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from django.db import connection, models, transaction
from django.db.models import F, Func, TextField, Value

from commission.models import (
    Attribution,
    Band,
    Booking,
    Plan,
    PlanProduct,
    PlanRate,
    Sale,
    SaleLine,
    SalePart,
    TicketCorrection,
)
from portfolios.models import Binding, Month

ROWS_PER_BLOCK = 1_000
# So much of each row's digest is kept with its block: enough to tell one row of a thousand from another.
ROW_DIGEST = 4
_CHUNK = 2_000


class FrozenTable(NamedTuple):
    """The rows that a month froze in one table, and the columns that are digested, the key first."""

    rows: models.QuerySet[Any]
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.rows.model._meta.db_table


class Block(NamedTuple):
    """Rows of one table that follow each other by key; `row_digests` has the first four bytes of each one's."""

    table: str
    number: int
    columns: str
    first_key: int
    last_key: int
    rows: int
    row_digests: bytes
    digest: str


class Difference(NamedTuple):
    """What a table has now where its block was sealed: a row `changed` or `added`, or `removed` between two keys."""

    table: str
    what: str
    first_key: int
    last_key: int


def columns_of(model: type[models.Model]) -> tuple[str, ...]:
    """Every column of a table, its key first."""
    names = [field.attname for field in model._meta.concrete_fields if not field.primary_key]
    return ("id", *names)


def frozen(rows: models.QuerySet[Any], columns: Iterable[str] = ()) -> FrozenTable:
    return FrozenTable(rows, tuple(columns) or columns_of(rows.model))


def ledger_tables(month: Month) -> list[FrozenTable]:
    """What the ledger froze: the rows posted to the month, what booked them, and the tickets that it brought in.

    A part came in with its first row; its lines are found by their ticket, for which there is an index. And what the
    rows rest on: their plans, which may be ended later, and the bindings that began in the month (the first month's:
    that have days in it), which may be ended later too.
    """
    posted = Attribution.objects.filter(month=month)
    first = posted.filter(corrects__isnull=True).order_by()
    plans = posted.order_by().values("plan")
    lines = SaleLine.objects.filter(sale=F("part__sale"), part__in=first.values("part"))
    return [
        frozen(Booking.objects.filter(pk__in=posted.order_by().values("booking"))),
        frozen(Sale.objects.filter(pk__in=first.values("part__sale"))),
        frozen(SalePart.objects.filter(pk__in=first.values("part"))),
        frozen(lines),
        frozen(TicketCorrection.objects.filter(booking__in=posted.order_by().values("booking"))),
        frozen(posted),
        frozen(Plan.objects.filter(pk__in=plans), ("id", *_PLAN_COLUMNS)),
        *(frozen(model.objects.filter(plan__in=plans)) for model in (PlanRate, PlanProduct, Band)),
        frozen(_bindings_begun(month), ("id", *_BINDING_COLUMNS)),
    ]


# All that never changes once a month that used it is closed: not the end, nor what ended it.
_PLAN_COLUMNS = ("plan_no", "store_id", "valid_from", "owner_share_bp", "house_share_bp", "walk_in_share_bp")
_BINDING_COLUMNS = ("member_id", "clerk_id", "valid_from", "reason", "batch_id")


def _bindings_begun(month: Month) -> models.QuerySet[Binding]:
    bindings = Binding.objects.filter(valid_from__lte=month.ends_on, valid_to__gt=month.starts_on)
    if Month.objects.filter(pk__lt=month.pk).exists():
        return bindings.filter(valid_from__gte=month.starts_on)
    return bindings


def calm_planner() -> None:
    """Lets PostgreSQL join and sort a month of tickets in memory until the transaction ends.

    Its statements are done before it pays to compile them, and are read to their end. It takes the same members to come
    again and again, and would look each up in turn: to read all of them at once is three times as fast.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SET LOCAL work_mem = '256MB'; SET LOCAL jit = off; SET LOCAL cursor_tuple_fraction = 1; "
                "SET LOCAL enable_memoize = off"
            )


# --- Lines -------------------------------------------------------------------------------------------------------


def _in_utc(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat()


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _cell(value: Any) -> str:
    """A value in a line: nothing for NULL, texts and documents in quotes, moments to the microsecond of UTC."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).replace(tzinfo=None).isoformat(timespec="microseconds")
    if isinstance(value, dict | list):
        return _quoted(json.dumps(value, sort_keys=True, separators=(",", ":")))
    return str(value)


def written(row: Iterable[Any]) -> bytes:
    """The line of a row with these values."""
    return ",".join(map(_cell, row)).encode()


# How PostgreSQL writes what `_cell` writes; what it writes by itself alike needs no words.
_CELLS: dict[type[Any], str] = {
    models.CharField: """'"' || REPLACE(%(expressions)s, '"', '""') || '"'""",
    models.TextField: """'"' || REPLACE(%(expressions)s, '"', '""') || '"'""",
    models.DateTimeField: """TO_CHAR(%(expressions)s AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')""",
    models.DateField: "TO_CHAR(%(expressions)s, 'YYYY-MM-DD')",
    models.IntegerField: "%(expressions)s",
    models.BooleanField: "%(expressions)s",
}


def _line_in_sql(table: FrozenTable) -> Func | None:
    """The line as an expression of PostgreSQL's; None where a column is a document, whose keys it would not sort."""
    fields = {field.attname: field for field in table.rows.model._meta.concrete_fields}
    cells: list[Func | Value] = []
    for name in table.columns:
        field = getattr(fields[name], "target_field", fields[name])
        written = next((sql for kind, sql in _CELLS.items() if isinstance(field, kind)), None)
        if written is None:
            return None
        cells += [Value(","), Func(F(name), template=written, output_field=TextField())]
    return Func(*cells[1:], function="CONCAT", output_field=TextField())


def _written_by_the_database(table: FrozenTable) -> Func | None:
    return _line_in_sql(table) if connection.vendor == "postgresql" else None


def lines(table: FrozenTable) -> Iterator[tuple[int, bytes]]:
    """Each row's key and line, in the order of the keys, in UTF-8."""
    rows = table.rows.order_by("pk")
    line = _written_by_the_database(table)
    if line is None:
        for row in rows.values_list(*table.columns).iterator(chunk_size=_CHUNK):
            yield row[0], written(row)
    else:
        for key, text in rows.values_list("pk", line).iterator(chunk_size=_CHUNK):
            yield key, text.encode()


# --- Sealing -----------------------------------------------------------------------------------------------------


def _digest(block: Iterable[bytes]) -> str:
    return hashlib.sha256(b"\n".join(block)).hexdigest()


def _row_digest(line: bytes) -> bytes:
    return hashlib.sha256(line).digest()[:ROW_DIGEST]


def blocks(table: FrozenTable, rows_per_block: int = ROWS_PER_BLOCK) -> Iterator[Block]:
    """The blocks of a table; one without rows where it has none, so that a row that is added later is found too."""
    rows = lines(table)
    columns = " ".join(table.columns)
    number = 0
    while (chunk := list(islice(rows, rows_per_block))) or not number:
        number += 1
        yield Block(
            table=table.name,
            number=number,
            columns=columns,
            first_key=chunk[0][0] if chunk else 0,
            last_key=chunk[-1][0] if chunk else 0,
            rows=len(chunk),
            row_digests=b"".join(_row_digest(line) for _key, line in chunk),
            digest=_digest(line for _key, line in chunk),
        )


def month_digest(month: Month, previous: str, sealed: Iterable[Block]) -> str:
    """The digest of a month whose blocks are these, in their order, after a month with the digest `previous`."""
    head = (
        previous,
        month.pk,
        month.starts_on,
        month.ends_on,
        month.closed_at and _in_utc(month.closed_at),
        month.closed_by,
    )
    total = hashlib.sha256(ascii(head).encode())
    for block in sealed:
        facts = (*block[:-2], hashlib.sha256(block.row_digests).hexdigest(), block.digest)
        total.update(b"\n" + ascii(facts).encode())
    return total.hexdigest()


# --- Comparing ---------------------------------------------------------------------------------------------------


def differences(table: FrozenTable, sealed: Iterable[Block]) -> Iterator[Difference]:
    """What of a table is no longer as it was sealed, block by block.

    A row belongs to the first block whose last key is not below its own; a row after the last block was added.
    """
    sealed = list(sealed)
    if _unchanged(table, sealed):
        return
    rows = lines(table)
    held = next(rows, None)
    below = 0
    for block in sealed:
        there: list[tuple[int, bytes]] = []
        while held is not None and held[0] <= block.last_key:
            there.append(held)
            held = next(rows, None)
        if _digest(line for _key, line in there) != block.digest:
            yield from _within(block, [(key, _row_digest(line)) for key, line in there], below)
        below = block.last_key
    while held is not None:
        yield Difference(table.name, "added", held[0], held[0])
        held = next(rows, None)


def _unchanged(table: FrozenTable, sealed: list[Block]) -> bool:
    """Whether PostgreSQL comes to the digest of every block; False where it cannot say."""
    line = _written_by_the_database(table)
    if line is None:
        return False
    sql, params = table.rows.order_by().annotate(line=line).values_list("pk", "line").query.sql_with_params()
    with transaction.atomic(), connection.cursor() as cursor:
        calm_planner()
        cursor.execute(
            "SELECT WIDTH_BUCKET(id - 1, %s::bigint[]), "
            "ENCODE(SHA256(CONVERT_TO(STRING_AGG(line, E'\\n' ORDER BY id), 'UTF8')), 'hex') "
            f"FROM ({sql}) AS frozen (id, line) GROUP BY 1",
            [[block.last_key for block in sealed[:-1]], *params],
        )
        found = dict(cursor.fetchall())
    return [found.pop(place, _digest([])) for place in range(len(sealed))] == [block.digest for block in sealed]


def _within(block: Block, there: list[tuple[int, bytes]], below: int) -> Iterator[Difference]:
    """The rows of a block that differ: what is there and was not sealed, beside what was sealed and is not there."""
    sealed = [block.row_digests[at : at + ROW_DIGEST] for at in range(0, len(block.row_digests), ROW_DIGEST)]
    known = set(sealed)
    here = {digest for _key, digest in there}
    fresh = [key for key, digest in there if digest not in known]
    missing = [at for at, digest in enumerate(sealed) if digest not in here]
    if not fresh and not missing:
        # The block's own record was changed, or what differs begins with the same four bytes.
        yield Difference(block.table, "changed", block.first_key, block.last_key)
    for key in fresh:
        yield Difference(block.table, "changed" if missing else "added", key, key)
        if missing:
            missing.pop(0)
    for at in missing:
        # Its key is lost with it; its neighbours' are known.
        place = {digest: key for key, digest in there}
        before = max((place[sealed[i]] for i in range(at) if sealed[i] in place), default=max(below, 0))
        after = min(
            (place[sealed[i]] for i in range(at + 1, len(sealed)) if sealed[i] in place), default=block.last_key
        )
        yield Difference(block.table, "removed", before, after)
