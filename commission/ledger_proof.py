"""The digest of what a closed month froze, chained to the month before, so that a changed byte is found and named.

Each table's rows are written as lines, in the order of their keys, and digested in blocks of 1,000; the month's digest
is the SHA-256 over the month before's, the month's own row and its blocks. The line of an earning line with key 7, in
payslip 3 of 2026-01, two tickets and 4.20 is "(7, 3, 202601, 'OWN_ABSENT', 2, 420)", on PostgreSQL as on SQLite.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from django.db import models
from django.db.models import F

from commission.models import Attribution, Booking, Sale, SaleLine, SalePart, TicketCorrection
from portfolios.models import Month

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

    A part came in with its first row; its lines are found by their ticket, for which there is an index.
    """
    posted = Attribution.objects.filter(month=month)
    first = posted.filter(corrects__isnull=True).order_by()
    lines = SaleLine.objects.filter(sale=F("part__sale"), part__in=first.values("part"))
    return [
        frozen(Booking.objects.filter(pk__in=posted.order_by().values("booking"))),
        frozen(Sale.objects.filter(pk__in=first.values("part__sale"))),
        frozen(SalePart.objects.filter(pk__in=first.values("part"))),
        frozen(lines),
        frozen(TicketCorrection.objects.filter(booking__in=posted.order_by().values("booking"))),
        frozen(posted),
    ]


# --- Lines -------------------------------------------------------------------------------------------------------


def _in_utc(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat()


def _sorted_json(document: Any) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def _writers(table: FrozenTable) -> list[tuple[int, Callable[[Any], str]]]:
    """The columns whose values look different on different databases, each with how it is written."""
    fields = {field.attname: field for field in table.rows.model._meta.concrete_fields}
    found: list[tuple[int, Callable[[Any], str]]] = []
    for place, name in enumerate(table.columns):
        if isinstance(fields[name], models.DateTimeField):
            found.append((place, _in_utc))
        elif isinstance(fields[name], models.JSONField):
            found.append((place, _sorted_json))
    return found


def lines(table: FrozenTable) -> Iterator[tuple[int, bytes]]:
    """Each row's key and line, in the order of the keys: the values as Python writes them, in ASCII."""
    writers = _writers(table)
    for row in table.rows.order_by("pk").values_list(*table.columns).iterator(chunk_size=_CHUNK):
        if writers:
            cells = list(row)
            for place, write in writers:
                cells[place] = None if cells[place] is None else write(cells[place])
            row = tuple(cells)
        yield row[0], ascii(row).encode()


# --- Sealing -----------------------------------------------------------------------------------------------------


def blocks(table: FrozenTable, rows_per_block: int = ROWS_PER_BLOCK) -> Iterator[Block]:
    """The blocks of a table; one without rows where it has none, so that a row that is added later is found too."""
    rows = lines(table)
    columns = " ".join(table.columns)
    number = 0
    while (chunk := list(islice(rows, rows_per_block))) or not number:
        number += 1
        digests = [hashlib.sha256(line).digest() for _key, line in chunk]
        yield Block(
            table=table.name,
            number=number,
            columns=columns,
            first_key=chunk[0][0] if chunk else 0,
            last_key=chunk[-1][0] if chunk else 0,
            rows=len(chunk),
            row_digests=b"".join(digest[:ROW_DIGEST] for digest in digests),
            digest=hashlib.sha256(b"".join(digests)).hexdigest(),
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
        month.close_requested_at and _in_utc(month.close_requested_at),
        month.close_requested_by_id,
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
    rows = lines(table)
    held = next(rows, None)
    below = 0
    for block in sealed:
        there: list[tuple[int, bytes]] = []
        while held is not None and held[0] <= block.last_key:
            there.append((held[0], hashlib.sha256(held[1]).digest()))
            held = next(rows, None)
        if hashlib.sha256(b"".join(digest for _key, digest in there)).hexdigest() != block.digest:
            yield from _within(block, there, below)
        below = block.last_key
    while held is not None:
        yield Difference(table.name, "added", held[0], held[0])
        held = next(rows, None)


def _within(block: Block, there: list[tuple[int, bytes]], below: int) -> Iterator[Difference]:
    """The rows of a block that differ: what is there and was not sealed, beside what was sealed and is not there."""
    sealed = [block.row_digests[at : at + ROW_DIGEST] for at in range(0, len(block.row_digests), ROW_DIGEST)]
    known = set(sealed)
    here = {digest[:ROW_DIGEST] for _key, digest in there}
    fresh = [key for key, digest in there if digest[:ROW_DIGEST] not in known]
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
        place = {digest[:ROW_DIGEST]: key for key, digest in there}
        before = max((place[sealed[i]] for i in range(at) if sealed[i] in place), default=max(below, 0))
        after = min(
            (place[sealed[i]] for i in range(at + 1, len(sealed)) if sealed[i] in place), default=block.last_key
        )
        yield Difference(block.table, "removed", before, after)
