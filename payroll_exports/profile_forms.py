"""What HR fills in for an export profile: format and rows, the columns in order, codes, and clerks' other numbers."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from io import StringIO
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.formsets import BaseFormSet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from payroll_exports.line_codes import LineCode
from payroll_exports.models import ExportProfile
from payroll_exports.profile_rows import Source
from portfolios.forms import PlainForm, SaysWhatToDo
from portfolios.models import Clerk

CLERK_NO = "clerk_no"
_PLAIN = forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"})
_SHOWN_PROBLEMS = 20


class ReferencesField(forms.Field):
    """Lines as from a spreadsheet: a heading "clerk_no,payslip_id,contract_id", then a line per clerk.

    A dict by clerk number of each name's value. A tab or a semicolon between the columns does as well.
    """

    def __init__(self, **options: Any) -> None:
        widget = forms.Textarea(attrs={"rows": 8, "spellcheck": "false", "autocomplete": "off"})
        super().__init__(required=False, widget=widget, **options)

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, Mapping) or not value:
            return "" if isinstance(value, Mapping) else value
        names = list(dict.fromkeys(name for references in value.values() for name in references))
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([CLERK_NO, *names])
        writer.writerows([no, *(references.get(name, "") for name in names)] for no, references in value.items())
        return text.getvalue()

    def to_python(self, value: Any) -> Any:
        lines = [line for line in str(value or "").splitlines() if line.strip()]
        if not lines:
            return {}
        delimiter = max("\t;,", key=lines[0].count)
        head, *rows = ([cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter))
        if head[0] != CLERK_NO or len(head) < 2 or len(set(head)) < len(head) or not all(head):
            raise ValidationError(_("The first line names the columns, each once: clerk_no,payslip_id,contract_id."))
        known = set(Clerk.objects.values_list("clerk_no", flat=True))
        found: dict[str, dict[str, str]] = {}
        problems = []
        for number, row in enumerate(rows, 2):
            if len(row) != len(head):
                problem = _("It has %(found)d columns, and the first line %(named)d.")
                problems.append((number, problem % {"found": len(row), "named": len(head)}))
            elif row[0] not in known:
                problems.append((number, _("There is no clerk %(clerk)s.") % {"clerk": row[0]}))
            elif row[0] in found:
                problems.append((number, _("Clerk %(clerk)s is there twice.") % {"clerk": row[0]}))
            else:
                found[row[0]] = {name: cell for name, cell in zip(head[1:], row[1:], strict=True) if cell}
        if problems:
            raise ValidationError(
                [
                    _("Line %(line)d: %(problem)s") % {"line": number, "problem": problem}
                    for number, problem in problems[:_SHOWN_PROBLEMS]
                ]
            )
        return found


class ProfileForm(SaysWhatToDo, forms.ModelForm):
    references = ReferencesField(
        label=gettext_lazy("Clerks' numbers in the other system"),
        help_text=gettext_lazy(
            "From a spreadsheet: a first line clerk_no,payslip_id,contract_id, then a line per clerk. Columns name "
            "these numbers in their detail. They are shown to HR only."
        ),
    )

    class Meta:
        model = ExportProfile
        fields = (
            "name",
            "layout",
            "rows",
            "scope",
            "sign",
            "trailer",
            "encoding",
            "delimiter",
            "decimal_mark",
            "date_format",
            "preamble",
            "references",
        )
        widgets = {
            "name": _PLAIN,
            "preamble": forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        }
        help_texts = {"preamble": gettext_lazy("Empty for most systems; a LODAS file says here whose it is.")}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for code in LineCode:
            pair = self.instance.codes.get(code.value, ["", ""])
            for place, kind in enumerate(("earning", "deduction")):
                self.fields[f"{kind}_{code.value}"] = forms.CharField(
                    label=code.label, required=False, max_length=100, initial=pair[place], widget=_PLAIN
                )

    def codes(self) -> list[tuple[LineCode, forms.BoundField, forms.BoundField]]:
        """Each earning line with its two code fields."""
        return [(code, self[f"earning_{code.value}"], self[f"deduction_{code.value}"]) for code in LineCode]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        pairs = {
            code.value: [cleaned.get(f"earning_{code.value}", ""), cleaned.get(f"deduction_{code.value}", "")]
            for code in LineCode
        }
        for code, (earning, deduction) in pairs.items():
            if deduction and not earning:
                self.add_error(f"earning_{code}", _("A code for deductions needs one for earnings too."))
        self.instance.codes = {code: pair for code, pair in pairs.items() if pair[0]}
        return cleaned


class ColumnForm(PlainForm):
    heading = forms.CharField(label=gettext_lazy("Heading"), max_length=100, widget=_PLAIN)
    source = forms.ChoiceField(label=gettext_lazy("Holds"), choices=[("", "—"), *Source.choices])
    detail = forms.CharField(label=gettext_lazy("Detail"), max_length=200, required=False, widget=_PLAIN)


ColumnFormSet = forms.formset_factory(ColumnForm, extra=2, can_order=True, can_delete=True, max_num=100)


def column_forms(profile: ExportProfile, data: Any = None) -> BaseFormSet[ColumnForm]:
    initial = [dict(zip(("heading", "source", "detail"), column, strict=True)) for column in profile.columns]
    return ColumnFormSet(data, initial=initial, prefix="columns")


def chosen_columns(columns: BaseFormSet[ColumnForm]) -> list[list[str]]:
    """The columns that were filled in, in the order that was asked for."""
    kept = [form.cleaned_data for form in columns.ordered_forms if form.cleaned_data.get("heading")]
    return [[one["heading"], one["source"], one["detail"]] for one in kept]


class CopyForm(PlainForm):
    """The name under which a profile is copied."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=60, widget=_PLAIN)

    def clean_name(self) -> str:
        name: str = self.cleaned_data["name"]
        if ExportProfile.objects.filter(name=name).exists():
            raise ValidationError(_("There is a profile with this name: choose another one."))
        return name
