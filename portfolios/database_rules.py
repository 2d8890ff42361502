"""Rules that the database itself holds, whoever writes: declared in a model's Meta.constraints.

`NoOverlap` refuses dated rows that overlap, `AppendOnly` refuses edits and deletes, `FixedOnceUsed` refuses them once
another table points to the row, `OpenMonthOnly` refuses rows for a closed month, `ClosedDaysStay` another value for a
day of one. On PostgreSQL they are an exclusion constraint and triggers, on SQLite triggers, so that save(),
bulk_create(), update() and raw SQL all meet them: a second binding of one member from 2026-03-10 is refused while
another runs from 2026-03-01 to 2026-04-01.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DEFAULT_DB_ALIAS
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.backends.ddl_references import Statement, Table
from django.db.models import BaseConstraint, Model, Q


class DatabaseRule(BaseConstraint):
    """A constraint whose SQL is more than a clause of CREATE TABLE, written for each database.

    It waits in the schema editor's deferred statements, where a table that SQLite rebuilds is renamed in it too.
    """

    options: tuple[str, ...] = ()

    def postgresql(self, model: type[Model]) -> list[str]:
        raise NotImplementedError

    def postgresql_remove(self) -> str:
        return f"DROP FUNCTION {self.name}() CASCADE"

    def sqlite(self, model: type[Model]) -> list[str]:
        raise NotImplementedError

    def statements(self, model: type[Model], editor: BaseDatabaseSchemaEditor) -> list[Statement]:
        sqls = self.postgresql(model) if editor.connection.vendor == "postgresql" else self.sqlite(model)
        table = Table(model._meta.db_table, editor.quote_name)
        return [Statement(sql.replace("%", "%%").replace("<table>", "%(table)s"), table=table) for sql in sqls]

    def constraint_sql(self, model: type[Model] | None, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        assert model is not None
        assert schema_editor is not None
        schema_editor.deferred_sql.extend(self.statements(model, schema_editor))
        return None

    def create_sql(self, model: type[Model] | None, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        # Only PostgreSQL comes here: SQLite's editor rebuilds the table, through constraint_sql().
        assert model is not None
        assert schema_editor is not None
        return ";\n".join(str(statement) for statement in self.statements(model, schema_editor))

    def remove_sql(self, model: type[Model] | None, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        assert model is not None
        assert schema_editor is not None
        return Statement(
            self.postgresql_remove().replace("<table>", "%(table)s"),
            table=Table(model._meta.db_table, schema_editor.quote_name),
        )

    def validate(
        self,
        model: type[Model],
        instance: Model,
        exclude: Any = None,
        using: str = DEFAULT_DB_ALIAS,
    ) -> None:
        """Left to the database, except where a form can say it better (NoOverlap)."""

    def deconstruct(self) -> Any:
        path, args, kwargs = super().deconstruct()
        return path, args, {**kwargs, **{option: getattr(self, option) for option in self.options}}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.deconstruct() == other.deconstruct()

    __hash__ = BaseConstraint.__hash__


class NoOverlap(DatabaseRule):
    """Rows with the same `key` fields never overlap in [valid_from, valid_to); `where` limits it to some rows."""

    options = ("key", "where")

    def __init__(self, *, name: str, key: Sequence[str], where: Mapping[str, str | None] | None = None) -> None:
        super().__init__(name=name)
        self.key = tuple(key)
        self.where = dict(where or {})

    def key_columns(self, model: type[Model]) -> list[tuple[str, bool]]:
        fields = [model._meta.get_field(name) for name in self.key]
        return [(field.column, field.null) for field in fields]  # type: ignore[union-attr,misc]

    def where_sql(self, model: type[Model], row: str) -> str:
        clauses = []
        for name, value in self.where.items():
            column = f"{row}{model._meta.get_field(name).column}"  # type: ignore[union-attr]
            clauses.append(f"{column} IS NULL" if value is None else f"{column} = '{value}'")
        return " AND ".join(clauses) or "1 = 1"

    def postgresql(self, model: type[Model]) -> list[str]:
        keys = ", ".join(
            f"(COALESCE({column}, 0)) WITH =" if null else f"{column} WITH ="
            for column, null in self.key_columns(model)
        )
        where = f" WHERE ({self.where_sql(model, '')})" if self.where else ""
        return [
            f"ALTER TABLE <table> ADD CONSTRAINT {self.name} "
            f"EXCLUDE USING gist ({keys}, daterange(valid_from, valid_to) WITH &&){where}"
        ]

    def postgresql_remove(self) -> str:
        return f"ALTER TABLE <table> DROP CONSTRAINT {self.name}"

    def sqlite(self, model: type[Model]) -> list[str]:
        same = " AND ".join(
            f"IFNULL(o.{column}, 0) = IFNULL(NEW.{column}, 0)" if null else f"o.{column} = NEW.{column}"
            for column, null in self.key_columns(model)
        )
        found = (
            f"{self.where_sql(model, 'NEW.')} AND EXISTS (SELECT 1 FROM <table> AS o WHERE {same} "
            f"AND o.valid_from < NEW.valid_to AND o.valid_to > NEW.valid_from AND {self.where_sql(model, 'o.')}"
        )
        refuse = f"BEGIN SELECT RAISE(ABORT, '{self.name}: the dates overlap another row'); END"
        return [
            f"CREATE TRIGGER {self.name}_insert BEFORE INSERT ON <table> FOR EACH ROW WHEN {found}) {refuse}",
            f"CREATE TRIGGER {self.name}_update BEFORE UPDATE ON <table> FOR EACH ROW "
            f"WHEN {found} AND o.id <> OLD.id) {refuse}",
        ]

    def validate(
        self,
        model: type[Model],
        instance: Model,
        exclude: Any = None,
        using: str = DEFAULT_DB_ALIAS,
    ) -> None:
        if any(getattr(instance, name) != value for name, value in self.where.items()):
            return
        same: dict[str, Any] = {}
        for name in self.key:
            value = getattr(instance, name)
            same.update({f"{name}__isnull": True} if value is None else {name: value})
        others = model._default_manager.using(using).filter(
            Q(**same),
            Q(**{(f"{k}__isnull" if v is None else k): (True if v is None else v) for k, v in self.where.items()}),
            valid_from__lt=getattr(instance, "valid_to"),  # noqa: B009 - every model with this rule has the dates
            valid_to__gt=getattr(instance, "valid_from"),  # noqa: B009
        )
        if others.exclude(pk=instance.pk).exists():
            raise ValidationError(self.get_violation_error_message(), code=self.name)


class AppendOnly(DatabaseRule):
    """Rows are never deleted, and edited only in the `mutable` columns while `allow` (SQL on OLD and NEW) holds."""

    options = ("mutable", "allow")

    def __init__(self, *, name: str, mutable: Sequence[str] = (), allow: str = "") -> None:
        super().__init__(name=name)
        self.mutable = tuple(mutable)
        self.allow = allow

    def postgresql(self, model: type[Model]) -> list[str]:
        declared, same, edited = "", "", "true"
        if self.mutable:
            # All but the mutable columns, those too that a later migration adds.
            declared = "DECLARE kept record; "
            same = "kept := NEW; " + "".join(f"kept.{column} := OLD.{column}; " for column in self.mutable)
            edited = "kept IS DISTINCT FROM OLD"
            edited += f" OR ({self.allow}) IS NOT TRUE" if self.allow else ""
        table = model._meta.db_table
        refuse = (
            f"RAISE EXCEPTION USING MESSAGE = '{self.name}: rows of {table} are never edited or deleted', "
            "ERRCODE = 'integrity_constraint_violation';"
        )
        return [
            f"CREATE FUNCTION {self.name}() RETURNS trigger LANGUAGE plpgsql AS $$ {declared}BEGIN "
            f"IF TG_OP <> 'UPDATE' THEN {refuse} END IF; {same}IF {edited} THEN {refuse} END IF; RETURN NEW; END $$",
            f"CREATE TRIGGER {self.name} BEFORE UPDATE OR DELETE ON <table> "
            f"FOR EACH ROW EXECUTE FUNCTION {self.name}()",
            f"CREATE TRIGGER {self.name}_truncate BEFORE TRUNCATE ON <table> "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {self.name}()",
        ]

    def sqlite(self, model: type[Model]) -> list[str]:
        refuse = (
            f"BEGIN SELECT RAISE(ABORT, '{self.name}: rows of {model._meta.db_table.removeprefix('new__')} "
            f"are never edited or deleted'); END"
        )
        when = ""
        if self.mutable:
            fixed = [f.column for f in model._meta.local_concrete_fields if f.column not in self.mutable]
            edited = " OR ".join(f"NEW.{column} IS NOT OLD.{column}" for column in fixed)
            edited += f" OR ({self.allow}) IS NOT 1" if self.allow else ""
            when = f"WHEN {edited} "
        return [
            f"CREATE TRIGGER {self.name}_update BEFORE UPDATE ON <table> FOR EACH ROW {when}{refuse}",
            f"CREATE TRIGGER {self.name}_delete BEFORE DELETE ON <table> FOR EACH ROW {refuse}",
            # INSERT OR REPLACE deletes the old row without firing the delete trigger, unless recursive_triggers is on.
            f"CREATE TRIGGER {self.name}_replace BEFORE INSERT ON <table> FOR EACH ROW "
            f"WHEN EXISTS (SELECT 1 FROM <table> AS o WHERE o.id = NEW.id) {refuse}",
        ]


class FixedOnceUsed(DatabaseRule):
    """Rows stay as they are once a row of the table `user` has their `key` in its column `column`.

    They are then not deleted, nothing is added under the same key, and only the `mutable` columns are edited, while
    `allow` (SQL on OLD and NEW) holds.
    """

    options = ("user", "column", "key", "mutable", "allow")

    def __init__(
        self,
        *,
        name: str,
        user: str,
        column: str,
        key: str = "id",
        mutable: Sequence[str] = (),
        allow: str = "1 = 1",
    ) -> None:
        super().__init__(name=name)
        self.user, self.column, self.key = user, column, key
        self.mutable, self.allow = tuple(mutable), allow

    def used(self, row: str) -> str:
        return f"EXISTS (SELECT 1 FROM {self.user} AS u WHERE u.{self.column} = {row}.{self.key})"

    def postgresql(self, model: type[Model]) -> list[str]:
        columns = "ARRAY[" + ", ".join(f"'{column}'" for column in self.mutable) + "]::text[]"
        edited = f"to_jsonb(NEW) - {columns} IS DISTINCT FROM to_jsonb(OLD) - {columns} OR ({self.allow}) IS NOT TRUE"
        refuse = (
            f"RAISE EXCEPTION USING MESSAGE = '{self.name}: rows of {model._meta.db_table} stay once they are used', "
            "ERRCODE = 'integrity_constraint_violation';"
        )
        return [
            f"CREATE FUNCTION {self.name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"IF TG_OP = 'INSERT' THEN IF {self.used('NEW')} THEN {refuse} END IF; RETURN NEW; END IF; "
            f"IF TG_OP = 'DELETE' THEN IF {self.used('OLD')} THEN {refuse} END IF; RETURN OLD; END IF; "
            f"IF ({self.used('OLD')} OR {self.used('NEW')}) AND ({edited}) THEN {refuse} END IF; RETURN NEW; END $$",
            f"CREATE TRIGGER {self.name} BEFORE INSERT OR UPDATE OR DELETE ON <table> "
            f"FOR EACH ROW EXECUTE FUNCTION {self.name}()",
        ]

    def sqlite(self, model: type[Model]) -> list[str]:
        refuse = (
            f"BEGIN SELECT RAISE(ABORT, '{self.name}: rows of {model._meta.db_table.removeprefix('new__')} "
            f"stay once they are used'); END"
        )
        fixed = [f.column for f in model._meta.local_concrete_fields if f.column not in self.mutable]
        edited = " OR ".join(f"NEW.{column} IS NOT OLD.{column}" for column in fixed)
        used = f"({self.used('OLD')} OR {self.used('NEW')}) AND ({edited} OR ({self.allow}) IS NOT 1)"
        return [
            f"CREATE TRIGGER {self.name}_insert BEFORE INSERT ON <table> FOR EACH ROW WHEN {self.used('NEW')} {refuse}",
            f"CREATE TRIGGER {self.name}_update BEFORE UPDATE ON <table> FOR EACH ROW WHEN {used} {refuse}",
            f"CREATE TRIGGER {self.name}_delete BEFORE DELETE ON <table> FOR EACH ROW WHEN {self.used('OLD')} {refuse}",
        ]


class OpenMonthOnly(DatabaseRule):
    """Rows are inserted, and with `edits` changed, only for a month (column `month_id`) that is there and not closed.

    On PostgreSQL the writer takes the month's row FOR SHARE, so that a close that runs beside it either waits for
    the row and counts it, or has finished and refuses it.
    """

    options = ("edits",)

    def __init__(self, *, name: str, edits: bool = False) -> None:
        super().__init__(name=name)
        self.edits = edits

    def postgresql(self, model: type[Model]) -> list[str]:
        return [
            f"CREATE FUNCTION {self.name}() RETURNS trigger LANGUAGE plpgsql AS $$ "
            "DECLARE months integer[]; closed integer; BEGIN "
            "SELECT array_agg(month_id) INTO months FROM (SELECT DISTINCT month_id FROM fresh) AS m; "
            "PERFORM 1 FROM portfolios_month WHERE id = ANY(months) ORDER BY id FOR SHARE; "
            "SELECT number INTO closed FROM unnest(months) AS number "
            "LEFT JOIN portfolios_month AS m ON m.id = number WHERE m.id IS NULL OR m.closed_at IS NOT NULL LIMIT 1; "
            "IF closed IS NOT NULL THEN RAISE EXCEPTION USING "
            f"MESSAGE = '{self.name}: month ' || closed || ' is not open', "
            "ERRCODE = 'integrity_constraint_violation'; END IF; "
            "RETURN NULL; END $$",
            *(
                f"CREATE TRIGGER {name} AFTER {event} ON <table> REFERENCING NEW TABLE AS fresh "
                f"FOR EACH STATEMENT EXECUTE FUNCTION {self.name}()"
                for event, name in self._triggers()
            ),
        ]

    def sqlite(self, model: type[Model]) -> list[str]:
        return [
            f"CREATE TRIGGER {name} BEFORE {event} ON <table> FOR EACH ROW WHEN NOT EXISTS "
            "(SELECT 1 FROM portfolios_month AS m WHERE m.id = NEW.month_id AND m.closed_at IS NULL) "
            f"BEGIN SELECT RAISE(ABORT, '{self.name}: the month is not open'); END"
            for event, name in self._triggers()
        ]

    def _triggers(self) -> list[tuple[str, str]]:
        """Each event with the name of its trigger."""
        return [("INSERT", self.name), *([("UPDATE", f"{self.name}_update")] if self.edits else [])]


class ClosedDaysStay(DatabaseRule):
    """Rows that hold in [valid_from, valid_to) say for the days of closed months what they said when those closed.

    A row that begins on or before the last closed day is neither added nor deleted, and only its `valid_to` is edited,
    from and to days after it. On PostgreSQL the writer takes the first open month's row FOR SHARE, as for
    `OpenMonthOnly`.
    """

    # On both databases NULL, which refuses nothing, while no month is closed.
    _LAST = "(SELECT MAX(m.ends_on) FROM portfolios_month AS m WHERE m.closed_at IS NOT NULL)"

    def postgresql(self, model: type[Model]) -> list[str]:
        table = model._meta.db_table
        refuse = (
            f"RAISE EXCEPTION USING MESSAGE = '{self.name}: rows of {table} stay for the days of closed months', "
            "ERRCODE = 'integrity_constraint_violation';"
        )
        return [
            f"CREATE FUNCTION {self.name}() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE closed date; BEGIN "
            "PERFORM 1 FROM portfolios_month WHERE closed_at IS NULL ORDER BY id LIMIT 1 FOR SHARE; "
            f"closed := {self._LAST}; "
            f"IF TG_OP = 'TRUNCATE' THEN IF EXISTS (SELECT 1 FROM {table} WHERE valid_from <= closed) "
            f"THEN {refuse} END IF; RETURN NULL; END IF; "
            f"IF TG_OP = 'INSERT' THEN IF NEW.valid_from <= closed THEN {refuse} END IF; RETURN NEW; END IF; "
            f"IF TG_OP = 'DELETE' THEN IF OLD.valid_from <= closed THEN {refuse} END IF; RETURN OLD; END IF; "
            "IF LEAST(OLD.valid_from, NEW.valid_from) <= closed "
            "AND (to_jsonb(NEW) - 'valid_to' IS DISTINCT FROM to_jsonb(OLD) - 'valid_to' "
            "OR (NEW.valid_to <> OLD.valid_to AND LEAST(OLD.valid_to, NEW.valid_to) <= closed)) "
            f"THEN {refuse} END IF; RETURN NEW; END $$",
            f"CREATE TRIGGER {self.name} BEFORE INSERT OR UPDATE OR DELETE ON <table> "
            f"FOR EACH ROW EXECUTE FUNCTION {self.name}()",
            f"CREATE TRIGGER {self.name}_truncate BEFORE TRUNCATE ON <table> "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {self.name}()",
        ]

    def sqlite(self, model: type[Model]) -> list[str]:
        refuse = (
            f"BEGIN SELECT RAISE(ABORT, '{self.name}: rows of {model._meta.db_table.removeprefix('new__')} "
            f"stay for the days of closed months'); END"
        )
        fixed = [f.column for f in model._meta.local_concrete_fields if f.column != "valid_to"]
        edited = " OR ".join(f"NEW.{column} IS NOT OLD.{column}" for column in fixed)
        # INSERT OR REPLACE deletes the old row without firing the delete trigger, unless recursive_triggers is on.
        replaced = f"EXISTS (SELECT 1 FROM <table> AS o WHERE o.id = NEW.id AND o.valid_from <= {self._LAST})"
        return [
            f"CREATE TRIGGER {self.name}_insert BEFORE INSERT ON <table> FOR EACH ROW "
            f"WHEN NEW.valid_from <= {self._LAST} OR {replaced} {refuse}",
            f"CREATE TRIGGER {self.name}_update BEFORE UPDATE ON <table> FOR EACH ROW "
            f"WHEN MIN(OLD.valid_from, NEW.valid_from) <= {self._LAST} AND ({edited} "
            f"OR (NEW.valid_to <> OLD.valid_to AND MIN(OLD.valid_to, NEW.valid_to) <= {self._LAST})) {refuse}",
            f"CREATE TRIGGER {self.name}_delete BEFORE DELETE ON <table> FOR EACH ROW "
            f"WHEN OLD.valid_from <= {self._LAST} {refuse}",
        ]
