"""A million rows at a time: a query's columns as arrays of whole numbers, and rows written with one statement.

To sum and compare by member, arrays take a fraction of the time of joined tables. What costs most is to carry rows
out of the database, so columns with small values share a number: of member 17 (of at most 31) and day 3 (of 31) it is
17 * 32 + 3.
"""

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from operator import attrgetter
from typing import Any, TypeAlias

import numpy as np
from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.models import BooleanField, Func, IntegerField, Max, Model, QuerySet, Value
from django.db.models.expressions import RawSQL
from django.db.models.functions import Greatest, Least
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.int64]
Truths: TypeAlias = NDArray[np.bool_]
# What a column can hold: keys of a table, whole numbers from 0 to the one given, or (None) any amount.
Range: TypeAlias = type[Model] | int | None

# Of a bigint that is not negative.
_BITS = 63
# A large table is read in so many queries at most, and in none of fewer blocks (of 8 KB).
_QUERIES, _BLOCKS = 64, 4_000


class DaysSince(Func):
    """How many days a date is after another one; where it lies before `first` or after `last`, that day's."""

    arg_joiner = " - "
    template = "(%(expressions)s)"
    output_field = IntegerField()

    def __init__(self, day: str, first: dt.date, last: dt.date) -> None:
        super().__init__(Least(Greatest(day, Value(first)), Value(last)), Value(first))

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "CAST(%(expressions)s AS integer)"
        days = [Func(day, function="JULIANDAY") for day in self.get_source_expressions()]
        copy = self.copy()
        copy.set_source_expressions(days)
        return super(DaysSince, copy).as_sql(compiler, connection, template=template, **context)


def read_columns(rows: QuerySet[Any, Any], columns: Mapping[str, Range], **configuration: str) -> dict[str, Numbers]:
    """The columns of a query, each an array, row beside row; NULL is 0. PostgreSQL plans it as `planning` says.

    There a column of all rows is one value of at most 1 GB, which is 130 million rows. Raises RuntimeError where rows
    came by the thousand meanwhile.
    """
    ((_query, found),) = read_pieces([rows], columns, **configuration)
    return found


def read_pieces(
    queries: Sequence[QuerySet[Any, Any]], columns: Mapping[str, Range], **configuration: str
) -> Iterator[tuple[int, dict[str, Numbers]]]:
    """The same of several queries, each with its place among them, in any order.

    While one is worked on, PostgreSQL goes on reading the next; until the last one is there, nothing else can be asked
    of the connection.
    """
    if not queries:
        return
    if connection.vendor != "postgresql":
        for place, rows in enumerate(queries):
            cells = [[value or 0 for value in row] for row in rows.values_list(*columns)]
            yield place, dict(zip(columns, np.array(cells, dtype=np.int64).reshape(-1, len(columns)).T, strict=True))
        return
    bits = {name: None if held is None else _room(held).bit_length() for name, held in columns.items()}
    shared = _shared(bits)
    numbers = ", ".join(f"STRING_AGG(INT8SEND({_number(names, bits)}), '')" for names in shared)
    parts = [rows.values(*columns).query.sql_with_params() for rows in queries]
    copied = " UNION ALL ".join(
        f"SELECT {place}, {numbers} FROM ({sql}) AS part" for place, (sql, _params) in enumerate(parts)
    )
    with connection.cursor() as cursor, planning(cursor, **configuration), connection.wrap_database_errors:
        whole = cursor.mogrify(
            f"COPY ({copied}) TO STDOUT (FORMAT BINARY)", [param for _, own in parts for param in own]
        )
        with cursor.copy(whole) as copy:
            copy.set_types(["int4", *["bytea"] * len(shared)])
            for place, *values in copy.rows():
                arrays = [np.frombuffer(value or b"", dtype=">i8").astype(np.int64) for value in values]
                yield place, _apart(bits, shared, arrays)
    for name, held in columns.items():
        if held is not None and _highest(held).bit_length() > (bits[name] or 0):
            raise RuntimeError(
                f"{name}: they came by the thousand while they were read. Nothing is kept: run it again."
            )


def blocks(rows: QuerySet[Any, Any]) -> list[QuerySet[Any, Any]]:
    """The rows of a table in several queries, in the order in which they lie, where that is known."""
    if connection.vendor != "postgresql":
        return [rows]
    table = connection.ops.quote_name(rows.model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute("SELECT PG_RELATION_SIZE(%s) / CURRENT_SETTING('block_size')::integer", [table])
        (length,) = cursor.fetchone()
    begins = [f"({begin},0)" for begin in range(0, max(1, length), max(_BLOCKS, -(-length // _QUERIES)))]
    queries = []
    for begin, end in zip_longest(begins, begins[1:]):
        # What is added meanwhile is at the end.
        within = f"{table}.ctid >= %s::tid" if end is None else f"{table}.ctid >= %s::tid AND {table}.ctid < %s::tid"
        params = [begin] if end is None else [begin, end]
        queries.append(rows.filter(RawSQL(within, params, BooleanField())))
    return queries


def _highest(held: type[Model] | int) -> int:
    if isinstance(held, int):
        return held
    return held._default_manager.aggregate(highest=Max("pk"))["highest"] or 0


def _room(held: type[Model] | int) -> int:
    """The highest value that there is room for: an eighth and a thousand more keys than there are."""
    highest = _highest(held)
    return max(1, highest) if isinstance(held, int) else highest + highest // 8 + 1000


def _number(names: Sequence[str], bits: Mapping[str, int | None]) -> str:
    """SQL of the number that these columns share."""
    number = ""
    for name in names:
        own = f"COALESCE({connection.ops.quote_name(name)}, 0)"
        number = f"({number}) * {1 << (bits[name] or 0)} + {own}" if number else own
    return number


def _apart(
    bits: Mapping[str, int | None], shared: Sequence[Sequence[str]], numbers: Sequence[Numbers]
) -> dict[str, Numbers]:
    found: dict[str, Numbers] = {}
    for names, rest in zip(shared, numbers, strict=True):
        for name in reversed(names[1:]):
            own_bits = bits[name] or 0
            found[name] = rest & ((1 << own_bits) - 1)
            rest >>= own_bits
        found[names[0]] = rest
    return found


def _shared(bits: Mapping[str, int | None]) -> list[list[str]]:
    """Which columns share a number: as many as there is room for, in their order; an amount shares with none."""
    shared: list[list[str]] = []
    left = 0
    for name, needed in bits.items():
        if needed is not None and needed <= left:
            shared[-1].append(name)
            left -= needed
        else:
            shared.append([name])
            left = 0 if needed is None else _BITS - needed
    return shared


class Places:
    """Where keys are in an array of known ones, which are in order."""

    def __init__(self, known: Numbers) -> None:
        self._known = known
        self._first, last = (int(known[0]), int(known[-1])) if len(known) else (0, -1)
        self._table = None
        if last - self._first < 16 * len(known) + 1000:
            # Where few numbers are missing between them, a table of all is read in a tenth of the time.
            self._table = np.full(last - self._first + 3, -1)
            self._table[known - self._first + 1] = np.arange(len(known))

    def __call__(self, keys: Numbers) -> Numbers:
        """The places of these keys; -1 for one that is not known."""
        if self._table is not None:
            return self._table[np.clip(keys - self._first + 1, 0, len(self._table) - 1)]
        places = np.minimum(np.searchsorted(self._known, keys), len(self._known) - 1)
        return np.where(self._known[places] == keys, places, -1)


def rows_where(which: Truths | Numbers, columns: Mapping[str, Numbers]) -> dict[str, Numbers]:
    """Those of the rows, or the rows at these places in their order."""
    return {name: column[which] for name, column in columns.items()}


def in_order(numbers: Numbers) -> Numbers:
    """The places of these numbers, none below zero, from the lowest on; of equal ones in the order that they have.

    Digit by digit, of 16 bits each, which numpy puts in order in a tenth of the time.
    """
    order = np.arange(len(numbers))
    for shift in range(0, int(numbers.max(initial=0)).bit_length(), 16):
        digits = (numbers[order] >> shift).astype(np.uint16)
        order = order[np.argsort(digits, kind="stable")]
    return order


def write_rows(table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Adds the rows to a table, as fast as the database can."""
    into = f"{table} ({', '.join(columns)})"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            with connection.wrap_database_errors, cursor.copy(f"COPY {into} FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            cursor.executemany(f"INSERT INTO {into} VALUES ({', '.join(['%s'] * len(columns))})", list(rows))


def write_all(objects: Sequence[Model]) -> None:
    """Adds new rows of one model, whose fields must be numbers or text as the database keeps them; no keys are set."""
    if objects:
        known = [field for field in objects[0]._meta.concrete_fields if not field.primary_key]
        values = attrgetter(*(field.attname for field in known))
        write_rows(objects[0]._meta.db_table, [str(field.column) for field in known], map(values, objects))


@contextmanager
def planning(cursor: CursorWrapper, **configuration: str) -> Iterator[None]:
    """PostgreSQL plans with these settings meanwhile, `enable_sort="off"` for one, within the transaction."""
    if connection.vendor != "postgresql":
        yield
        return
    for name, value in configuration.items():
        cursor.execute(f"SET LOCAL {name} = '{value}'")
    yield
    for name in configuration:
        cursor.execute(f"SET LOCAL {name} TO DEFAULT")
