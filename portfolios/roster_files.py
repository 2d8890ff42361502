"""What the roster's files have in common: the grammar of their cells, and how rows become stored ones.

A file is an upsert: a row whose key is stored already changes what differs, any other is new. Rows are collected,
checked together (the dates of one clerk must not overlap) and written in one go, so that each error keeps its row and
column: "3.5" percent is 350 basis points, "3.555" is an error in its cell.
"""

import datetime as dt
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet
from django.utils.translation import gettext as _
from import_export import fields, resources, results, widgets

from portfolios.models import OPEN_END, BindingBatch, User
from portfolios.months import first_open_day
from portfolios.output_files import plain_text, safe_text
from portfolios.sentences import joined


class RowProblem(ValidationError):
    """Why a row is refused, and what to do about it."""

    def __init__(self, reason: str, remedy: str = "") -> None:
        super().__init__(joined(reason, remedy))
        self.reason = reason
        self.remedy = remedy


# --- The grammar of a cell ----------------------------------------------------------------------------------------
_SCIENTIFIC = re.compile(r"[0-9]+(?:[.,][0-9]+)?[eE][+-][0-9]+", re.ASCII)
_POINT_ZERO = re.compile(r"[0-9]+\.0+", re.ASCII)
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060\ufeff]")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_RATIO = re.compile(r"(?:0|[1-9][0-9]*)(?:\.[0-9]{1,2})?", re.ASCII)


class Cell(widgets.Widget):
    """One kind of cell: `clean` reads the file's text (or raises RowProblem), `render` writes it again."""

    required = True

    def __init__(self, *, required: bool = True) -> None:
        super().__init__()
        self.required = required

    def clean(self, value: str, row: Any = None, **kwargs: Any) -> Any:
        if value:
            return self.parse(value)
        if self.required:
            raise RowProblem(_("The value is missing."), _("Fill the cell."))
        return self.empty()

    def empty(self) -> Any:
        return None

    def parse(self, text: str) -> Any:
        raise NotImplementedError

    def prepare(self) -> None:
        """Called once before a file's rows."""


class TextCell(Cell):
    def __init__(self, max_length: int, *, required: bool = True) -> None:
        super().__init__(required=required)
        self.max_length = max_length

    def empty(self) -> str:
        return ""

    def render(self, value: str | None, obj: Any = None, **kwargs: Any) -> str:
        return safe_text(value or "")

    def clean(self, value: str, row: Any = None, **kwargs: Any) -> Any:
        return super().clean(plain_text(value), row, **kwargs)

    def parse(self, text: str) -> str:
        if len(text) > self.max_length:
            raise RowProblem(
                _("The text is longer than %(length)d characters.") % {"length": self.max_length}, _("Shorten it.")
            )
        if _UNSEEN.search(text):
            raise RowProblem(_("The text holds a character that can't be seen (a tab, a line break)."), _("Remove it."))
        return text


class NumberCell(TextCell):
    """The number of a clerk, card, store, product ...: an identifier, with the damage that spreadsheets do to one."""

    def parse(self, text: str) -> str:
        text = super().parse(text)
        if _SCIENTIFIC.fullmatch(text):
            raise RowProblem(
                _("A spreadsheet turned the number into scientific notation: its digits are lost."),
                _("Format the column as text and enter the number again."),
            )
        if _POINT_ZERO.fullmatch(text):
            raise RowProblem(
                _("A spreadsheet turned the number into an amount (.0)."),
                _("Format the column as text and enter the number again."),
            )
        if not text.isascii() and unicodedata.normalize("NFKC", text) != text:
            raise RowProblem(
                _("The number has full-width characters."), _("Write it with ordinary letters and digits.")
            )
        return text


class DateCell(Cell):
    def parse(self, text: str) -> dt.date:
        day = calendar_date(text)
        if day is None:
            raise RowProblem(
                _("This is not a date of the calendar as the file must write it."),
                _("Write it as YYYY-MM-DD, for example 2026-03-01."),
            )
        return day

    def render(self, value: dt.date | None, obj: Any = None, **kwargs: Any) -> str:
        return value.isoformat() if value else ""


@lru_cache(maxsize=65_536)
def calendar_date(text: str) -> dt.date | None:
    """The date that "2026-03-01" writes, in this form alone; None for any other text."""
    if not _DATE.fullmatch(text):
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return None


class UntilCell(DateCell):
    """`valid_to`: the first day that no longer counts; empty for none."""

    def __init__(self) -> None:
        super().__init__(required=False)

    def empty(self) -> dt.date:
        return OPEN_END

    def render(self, value: dt.date | None, obj: Any = None, **kwargs: Any) -> str:
        return "" if value == OPEN_END else super().render(value)


class ChoiceCell(Cell):
    """One of a few words; `choices` maps the file's word to the stored value."""

    def __init__(self, choices: Mapping[str, Any], *, required: bool = True) -> None:
        super().__init__(required=required)
        self.choices = dict(choices)
        self.words = {value: word for word, value in choices.items()}

    def empty(self) -> str:
        return ""

    def parse(self, text: str) -> Any:
        if text not in self.choices:
            raise RowProblem(
                _("The word is not known here."), _("Write one of: %(words)s.") % {"words": ", ".join(self.choices)}
            )
        return self.choices[text]

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> str:
        return self.words.get(value, "")


class RatioCell(Cell):
    """A ratio in percent with at most two decimals, "3.5"; stored in basis points, 350. At most 100 percent."""

    def __init__(self, *, required: bool = True, default: int | None = None) -> None:
        super().__init__(required=required)
        self.default = default

    def empty(self) -> int | None:
        return self.default

    def parse(self, text: str) -> int:
        return _hundredths(text, 10_000, _("Write a percentage from 0 to 100 with at most two decimals, such as 3.5."))

    def render(self, value: int | None, obj: Any = None, **kwargs: Any) -> str:
        return "" if value is None else _plain(value)


class WeightCell(Cell):
    """A weight as a ratio, "0.5"; stored in percent, 50."""

    def parse(self, text: str) -> int:
        return _hundredths(text, 1_000, _("Write a number from 0 to 10 with at most two decimals, such as 0.5."))

    def render(self, value: int | None, obj: Any = None, **kwargs: Any) -> str:
        return "" if value is None else _plain(value)


def _hundredths(text: str, most: int, remedy: str) -> int:
    if not _RATIO.fullmatch(text):
        raise RowProblem(_("This is not written as a ratio."), remedy)
    whole, _point, decimals = text.partition(".")
    value = int(whole) * 100 + int(decimals.ljust(2, "0") if decimals else 0)
    if value > most:
        raise RowProblem(_("The ratio is too large."), remedy)
    return value


def _plain(hundredths: int) -> str:
    whole, rest = divmod(hundredths, 100)
    return f"{whole}.{rest:02d}".rstrip("0") if rest else str(whole)


class Refused(Exception):
    """The cell names a number whose own row was refused: that has been said there."""


class ReferenceCell(NumberCell):
    """The number of a row in another table; read as its primary key."""

    def __init__(self, model: type[Model], number: str, *, required: bool = True) -> None:
        super().__init__(model._meta.get_field(number).max_length or 0, required=required)  # type: ignore[union-attr]
        self.model = model
        self.number = number
        self.known: dict[str, int] = {}
        self.numbers: dict[int, str] = {}
        # The numbers that stand in a refused file, and would be known if it were right; None where it can't be read.
        self.refused: frozenset[str] | None = frozenset()

    def prepare(self) -> None:
        self.known = dict(self.model._default_manager.values_list(self.number, "pk"))
        self.bare = {bare_number(number): number for number in self.known if is_digits(number)}

    def empty(self) -> None:  # type: ignore[override]
        return None

    def parse(self, text: str) -> Any:
        key = self.known.get(text)
        if key is not None:
            return key
        text = super().parse(text)
        if self.refused is None or text in self.refused:
            raise Refused
        meant = self.bare.get(bare_number(text), "") if is_digits(text) else ""
        if len(meant) > len(text):
            raise lost_zeros(meant)
        what = self.model._meta.verbose_name
        raise RowProblem(
            _("No %(what)s has this number.") % {"what": what},
            _("Correct it, or import the %(what)s first.") % {"what": what},
        )

    def render(self, value: Model | None, obj: Any = None, **kwargs: Any) -> str:  # type: ignore[override]
        return safe_text(getattr(value, self.number)) if value else ""

    def number_of(self, key: int | None) -> str:
        """The number of the row with this primary key; empty for None."""
        if len(self.numbers) != len(self.known):
            self.numbers = {known: number for number, known in self.known.items()}
        return "" if key is None else self.numbers[key]


def is_digits(number: str) -> bool:
    return number.isascii() and number.isdigit()


def bare_number(number: str) -> str:
    """A number of digits as a spreadsheet leaves it: without its leading zeros."""
    return number.lstrip("0")


def lost_zeros(meant: str) -> RowProblem:
    return RowProblem(
        _("The number has lost its leading zeros: %(meant)s is known.") % {"meant": meant},
        _("Format the column as text and write %(meant)s.") % {"meant": meant},
    )


# --- A file and its rows --------------------------------------------------------------------------------------------
class Column(fields.Field):
    """A column of a file: which attribute it fills, and the grammar of its cells."""

    widget: Cell

    def __init__(self, attribute: str, cell: Cell) -> None:
        super().__init__(attribute=attribute, widget=cell)

    @property
    def stored_as(self) -> str:
        return f"{self.attribute}_id" if isinstance(self.widget, ReferenceCell) else str(self.attribute)


class _RowResult(results.RowResult):
    def add_instance_info(self, instance: Model | None) -> None:
        """Without the text of the instance, which costs a query for each row."""


@dataclass
class Row:
    """A row that is new, or changes what is stored; `before` holds the stored values that it changes."""

    number: int
    key: Hashable
    instance: Any
    is_new: bool
    before: dict[str, Any] = field(default_factory=dict)


class RosterResource(resources.ModelResource):
    """Base of the resources of the roster's files; `Meta.fields` are the columns, in the order of the export."""

    file_name: ClassVar[str]
    optional: ClassVar[tuple[str, ...]] = ()
    # The columns that identify a row; where it is the one number of a table, numbers that lost zeros are found.
    key: ClassVar[tuple[str, ...]]

    class Meta:
        use_bulk = True
        skip_diff = True
        skip_unchanged = True

    @classmethod
    def required_columns(cls) -> list[str]:
        return [name for name in cls._meta.fields if name not in cls.optional]

    @classmethod
    def get_row_result_class(cls) -> type[results.RowResult]:
        return _RowResult

    def get_import_id_fields(self) -> list[str]:
        return list(self.key)

    # --- Reading a row ---
    def before_import(
        self,
        dataset: Any,
        *,
        row_numbers: list[int] | None = None,
        refused: Mapping[type[Model], frozenset[str] | None] | None = None,
        damaged: Mapping[tuple[int, str], RowProblem] | None = None,
        batch: Callable[[], BindingBatch] | None = None,
        show: Callable[[int], None] | None = None,
        recorded_by: User | None = None,
        **kwargs: Any,
    ) -> None:
        """Gets ready for the rows of a dataset.

        `row_numbers` are their places in the file, `refused` the numbers of earlier files that were refused (None:
        unreadable), `damaged` what is wrong with single cells by row in the file and column, `batch` makes (once) the
        batch that changes of bindings belong to, `show` is told how many rows are done, and `recorded_by` is who
        imports, None for the operator.
        """
        self.dataset = dataset
        self.row_numbers = row_numbers or list(range(2, len(dataset) + 2))
        self.damaged = damaged
        self.batch = batch
        self.show = show
        self.recorded_by = recorded_by
        # A column that may be absent, and is, leaves what is stored as it is.
        self.columns: list[tuple[str, Column]] = [
            (name, self.fields[name]) for name in self._meta.fields if name in dataset.headers
        ]
        for _name, column in self.columns:
            column.widget.prepare()
            if isinstance(column.widget, ReferenceCell) and refused:
                column.widget.refused = refused.get(column.widget.model, frozenset())
        self.first_open_day = first_open_day()
        self.stored: dict[Hashable, Any] = {self.key_of(vars(instance)): instance for instance in self.stored_rows()}
        self.seen: dict[Hashable, int] = {}
        self.rows: list[Row] = []
        self.notices: list[str] = []
        # The first date on which a sale that is booked may have another owner now.
        self.changed_since: dt.date | None = None
        self.load()

    def load(self) -> None:
        """What else the rows are checked against; read once."""

    def stored_rows(self) -> Iterable[Any]:
        return self.get_queryset().iterator(chunk_size=5_000)

    def key_of(self, values: Mapping[str, Any]) -> Hashable:
        """The key, from stored values by attribute."""
        return tuple(values[self.fields[name].stored_as] for name in self.key)

    def before_import_row(self, row: Mapping[str, str], *, row_number: int, **kwargs: Any) -> None:
        values: dict[str, Any] = {}
        problems: dict[str, ValidationError] = {}
        follows = False
        for name, column in self.columns:
            try:
                if self.damaged and (damage := self.damaged.get((self.row_numbers[row_number - 1], name))):
                    raise damage
                values[column.stored_as] = column.widget.clean(row[name])
            except RowProblem as problem:
                problems[name] = problem
            except Refused:
                follows = True
        if not problems and not follows:
            self.check_row(values, problems)
        if problems or follows:
            raise ValidationError(problems)
        key = self.key_of(values)
        if (first := self.seen.setdefault(key, row_number)) != row_number:
            raise ValidationError(
                {
                    self.key[0]: RowProblem(
                        _("Row %(row)d has the same key (%(columns)s).")
                        % {"row": self.row_numbers[first - 1], "columns": ", ".join(self.key)},
                        _("Keep one of the two."),
                    )
                }
            )
        self.values, self.row_key, self.row_number = values, key, row_number

    def check_row(self, values: dict[str, Any], problems: dict[str, ValidationError]) -> None:
        """Checks a row's cells against each other, and fills what an empty cell stands for."""

    def get_instance(self, instance_loader: Any, row: Mapping[str, str]) -> Any:
        return self.stored.get(self.row_key)

    def import_instance(self, instance: Any, row: Mapping[str, str], **kwargs: Any) -> None:
        self.before = {}
        for name, value in self.values.items():
            old = getattr(instance, name)
            if old != value:
                self.before[name] = old
                setattr(instance, name, value)

    def skip_row(self, instance: Any, original: Any, row: Any, import_validation_errors: Any = None) -> bool:
        return instance.pk is not None and not self.before

    def save_instance(self, instance: Any, is_create: bool, row: Mapping[str, str], **kwargs: Any) -> None:
        self.rows.append(Row(self.row_number, self.row_key, instance, is_create, self.before))

    def after_import_row(self, row: Any, row_result: Any, *, row_number: int, **kwargs: Any) -> None:
        if self.show:
            self.show(row_number)

    # --- Checking the rows together, and writing them ---
    def after_import(self, dataset: Any, result: results.Result, **kwargs: Any) -> None:
        self.result = result
        self.check_rows()
        if not result.has_validation_errors() and not result.has_errors():
            self.write()

    def check_rows(self) -> None:
        """Refuses what only shows across rows."""
        if len(self.key) == 1:
            self._check_lost_zeros()

    def _check_lost_zeros(self) -> None:
        longest: dict[str, str] = {}
        for key in (*self.stored, *self.seen):
            number = key[0]  # type: ignore[index]
            if is_digits(number):
                bare = bare_number(number)
                longest[bare] = max(longest.get(bare, ""), number, key=len)
        for row in self.rows:
            number = row.key[0]  # type: ignore[index]
            meant = longest.get(bare_number(number), number)
            if row.is_new and meant != number:
                self.refuse(row, self.key[0], lost_zeros(meant))

    def refuse(self, row: Row, column: str, problem: RowProblem) -> None:
        cells = dict(zip(self.dataset.headers, self.dataset[row.number - 1], strict=True))
        self.result.append_invalid_row(row.number, cells, ValidationError({column: problem}))

    def write(self) -> None:
        changed = [row.instance for row in self.rows if not row.is_new]
        if changed:
            self.write_changed(changed)
        new = [row.instance for row in self.rows if row.is_new]
        self._meta.model.objects.bulk_create(new, batch_size=2_000)

    def write_changed(self, instances: list[Any]) -> None:
        """What is stored already, before anything new is: an end makes room for what begins there."""
        columns = [column.stored_as.removesuffix("_id") for _name, column in self.columns]
        self._meta.model.objects.bulk_update(instances, columns, batch_size=500)

    def note_change(self, day: dt.date | None) -> None:
        if day is not None:
            self.changed_since = min(day, self.changed_since or day)

    # --- Telling what a row changes, and writing the file again ---
    def changes(self, row: Row) -> list[tuple[str, str, str]]:
        """Column, text before and text after of each cell in which the file differs from what is stored."""
        return [
            (name, self.text(column, row.before[of]), self.text(column, getattr(row.instance, of)))
            for name, column in self.columns
            if (of := column.stored_as) in row.before
        ]

    def text(self, column: Column, value: Any) -> str:
        """What a file would have for a stored value, without the apostrophe before a formula."""
        if isinstance(column.widget, ReferenceCell):
            return column.widget.number_of(value)
        return plain_text(column.widget.render(value))

    def export_resource(self, instance: Any, selected_fields: list[str] | None = None, **kwargs: Any) -> list[str]:
        """A row's cells; the library looks each column up anew for each row, which takes twice as long."""
        columns = [self.fields[name] for name in selected_fields or self._meta.fields]
        return [column.widget.render(getattr(instance, column.attribute)) for column in columns]

    def export(self, queryset: QuerySet[Any] | None = None, **kwargs: Any) -> Any:
        """The file's rows as a dataset, by their key: in the same order on every database."""
        if queryset is None:
            queryset = self.get_queryset()
        columns = [self.fields[name] for name in self.key]
        related = [c.attribute for c in self.fields.values() if isinstance(c.widget, ReferenceCell)]

        def key(instance: Any) -> list[Any]:
            values = [(column.widget, getattr(instance, column.attribute)) for column in columns]
            return [getattr(value, cell.number) if isinstance(cell, ReferenceCell) else value for cell, value in values]

        return super().export(sorted(queryset.select_related(*related), key=key), **kwargs)


class DatedResource(RosterResource):
    """Rows that hold in [valid_from, valid_to): one at a time, and no change to the days of a closed month."""

    def scope(self, instance: Any) -> Hashable:
        """Rows of one scope must not overlap; None: they may."""
        raise NotImplementedError

    def check_row(self, values: dict[str, Any], problems: dict[str, ValidationError]) -> None:
        if values["valid_from"] >= values["valid_to"]:
            problems["valid_to"] = RowProblem(
                _("The row has no day: valid_to is the first day that no longer counts."),
                _("Write a day after valid_from, or leave valid_to empty."),
            )

    def check_rows(self) -> None:
        super().check_rows()
        for row in self.rows:
            self.check_closed_months(row)
        rows = {id(row.instance): row for row in self.rows}
        instances = [*self.stored.values(), *(row.instance for row in self.rows if row.is_new)]
        self.check_overlaps((self.scope(instance), instance, rows.get(id(instance))) for instance in instances)

    def check_closed_months(self, row: Row) -> None:
        if (first := self.first_open_day) is None:
            return
        instance = row.instance
        if row.is_new or set(row.before) - {"valid_to"}:
            column, day = "valid_from", instance.valid_from
        else:
            column, day = "valid_to", min(row.before["valid_to"], instance.valid_to)
        if day < first:
            self.refuse(row, column, closed_month(first))

    def check_overlaps(self, dated: Iterable[tuple[Hashable, Any, Row | None]]) -> None:
        """Refuses rows that overlap another of their scope; a row of None is stored and not in the file."""
        scopes = defaultdict(list)
        for scope, instance, row in dated:
            if scope is not None:
                scopes[scope].append((instance.valid_from, instance.valid_to, row))
        for spans in scopes.values():
            if len(spans) == 1 or not any(row for _from, _to, row in spans):
                continue
            spans.sort(key=lambda span: span[:2])
            # The row that reaches furthest of those before: it need not be the neighbour.
            from_1, to_1, row_1 = spans[0]
            for from_2, to_2, row_2 in spans[1:]:
                if from_2 < to_1:
                    span_1, span_2 = (row_1, (from_1, to_1)), (row_2, (from_2, to_2))
                    # The later row of the file is to blame, and one of the file rather than a stored one.
                    (other, dates), (blamed, _dates) = sorted(
                        (span_1, span_2), key=lambda span: span[0].number if span[0] else 0
                    )
                    if blamed:
                        self._refuse_overlap(blamed, other, dates)
                if to_2 > to_1:
                    from_1, to_1, row_1 = from_2, to_2, row_2

    def _refuse_overlap(self, row: Row, other: Row | None, dates: tuple[dt.date, dt.date]) -> None:
        place = _("row %(row)d") % {"row": self.row_numbers[other.number - 1]} if other else _("what is recorded")
        self.refuse(
            row,
            "valid_from",
            RowProblem(
                _("The dates overlap %(place)s, from %(first)s until %(last)s.")
                % {"place": place, "first": dates[0], "last": _until(dates[1])},
                _("End one before the other begins: valid_to is the first day that no longer counts."),
            ),
        )


def _until(day: dt.date) -> str:
    return _("open end") if day == OPEN_END else day.isoformat()


def closed_month(first: dt.date) -> RowProblem:
    return RowProblem(
        _("This would change days of a closed month, and closed months never change."),
        _("Leave those days as they are: the change may take effect on %(day)s or later.") % {"day": first},
    )
