"""What HR fills in for a scorecard: number, for whom, from which month to which, what 100 points pay, and the measures.

A measure counts where it has a weight. A target is written as the measure is read: 70 (%), 56.00, 0.67 or 12.
"""

import datetime as dt
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from commission.money import AmountError, format_amount, format_bp, parse_amount
from kpis.measure_page import Measure
from kpis.models import Scorecard, ScorecardMeasure
from kpis.scorecard import LOWER_IS_BETTER, SCORED
from kpis.scorecard_changes import DAY, months_of
from kpis.scorecard_models import MAX_CAP_BP, Direction
from portfolios.forms import PlainForm
from portfolios.models import OPEN_END, Posting, Store
from portfolios.months import MonthError, month_days, parse_month
from portfolios.roster_files import NumberCell

_NUMBER = {"inputmode": "decimal", "autocomplete": "off", "maxlength": 15}
_UNITS: dict[str, Promise] = {
    "percent": gettext_lazy("%"),
    "amount": gettext_lazy("amount"),
    "times": gettext_lazy("times"),
    "count": gettext_lazy("members"),
}


def month_name(number: int) -> str:
    return f"{number // 100:04d}-{number % 100:02d}"


class MonthField(forms.Field):
    """A month as 2026-11; its number."""

    def __init__(self, **options: Any) -> None:
        widget = forms.TextInput(attrs={"autocomplete": "off", "maxlength": 7})
        super().__init__(widget=widget, **options)

    def prepare_value(self, value: Any) -> Any:
        return month_name(value) if isinstance(value, int) else value

    def to_python(self, value: Any) -> int | None:
        text = str(value or "").strip()
        if not text:
            return None
        try:
            return parse_month(text)
        except MonthError as problem:
            raise ValidationError(str(problem)) from problem


class HundredthsField(forms.Field):
    """A number of 0 or more with at most two decimals; in hundredths: an amount's fen, a percentage's basis points."""

    def __init__(self, *, most: int, **options: Any) -> None:
        self.most = most
        super().__init__(widget=forms.TextInput(attrs=_NUMBER), **options)

    def prepare_value(self, value: Any) -> Any:
        return format_bp(value) if isinstance(value, int) else value

    def to_python(self, value: Any) -> int | None:
        text = str(value or "").strip().removesuffix("%").strip()
        if not text:
            return None
        try:
            number = parse_amount(text)
        except AmountError:
            number = -1
        if not 0 <= number <= self.most:
            raise ValidationError(
                _("Write a number from 0 to %(most)s with at most two decimals.") % {"most": format_bp(self.most)}
            )
        return number


class AmountField(HundredthsField):
    def prepare_value(self, value: Any) -> Any:
        return format_amount(value) if isinstance(value, int) else value


class CountField(forms.IntegerField):
    def __init__(self, **options: Any) -> None:
        super().__init__(widget=forms.TextInput(attrs={**_NUMBER, "inputmode": "numeric"}), **options)


class ScorecardForm(PlainForm):
    scorecard_no = forms.CharField(
        max_length=30, label=gettext_lazy("Scorecard number"), widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    role = forms.ChoiceField(
        choices=[
            (Posting.Role.CLERK, gettext_lazy("clerks")),
            (Posting.Role.MANAGER, gettext_lazy("managers")),
        ],
        label=gettext_lazy("It scores"),
        help_text=gettext_lazy("Clerks by their own members, managers by those of their stores."),
    )
    store = forms.ModelChoiceField(
        Store.objects.all(), label=gettext_lazy("Of"), required=False, empty_label=gettext_lazy("the whole chain")
    )
    first_month = MonthField(label=gettext_lazy("First month"), help_text=gettext_lazy("Such as 2026-11."))
    last_month = MonthField(
        label=pgettext_lazy("of a scorecard", "Last month"),
        required=False,
        help_text=gettext_lazy("Empty: until another scorecard follows."),
    )
    full_amount = AmountField(
        most=10**10,
        label=gettext_lazy("Bonus at 100 points"),
        help_text=gettext_lazy("For whoever is posted on every day of the month."),
    )

    def __init__(self, *args: Any, scorecard: Scorecard | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scorecard = scorecard
        for measure in SCORED:
            self.fields[f"weight_{measure.key}"] = CountField(
                label=_("Weight, in percent"), required=False, min_value=1, max_value=100
            )
            target: forms.Field = HundredthsField(most=10**9, label=_("Target"), required=False)
            if measure.unit == "count":
                target = CountField(label=_("Target"), required=False, min_value=0, max_value=10**6)
            self.fields[f"target_{measure.key}"] = target
            self.fields[f"cap_{measure.key}"] = HundredthsField(
                most=MAX_CAP_BP, label=_("Cap, in percent of the target"), required=False
            )
            self.fields[f"direction_{measure.key}"] = forms.ChoiceField(
                choices=Direction.choices, label=_("Direction"), required=False
            )

    @staticmethod
    def filled_in(scorecard: Scorecard | None) -> dict[str, Any]:
        """The terms of a scorecard as initial values, or those that a new one begins with."""
        initial: dict[str, Any] = {}
        for measure in SCORED:
            lower = measure.key in LOWER_IS_BETTER
            initial[f"direction_{measure.key}"] = Direction.LOWER if lower else Direction.HIGHER
            initial[f"cap_{measure.key}"] = 12_000
        if scorecard is None:
            return initial
        first, last = months_of(scorecard)
        initial |= {
            "scorecard_no": scorecard.scorecard_no,
            "role": scorecard.role,
            "store": scorecard.store_id,
            "first_month": first,
            "last_month": last,
            "full_amount": scorecard.full_amount,
        }
        for terms in scorecard.measures.all():
            initial[f"weight_{terms.measure}"] = terms.weight_bp // 100
            initial[f"target_{terms.measure}"] = terms.target
            initial[f"cap_{terms.measure}"] = terms.cap_bp
            initial[f"direction_{terms.measure}"] = terms.direction
        return initial

    def rows(self) -> list[tuple[Measure, Promise | str, list[forms.BoundField]]]:
        """Each measure with its unit, weight, target, cap and direction."""
        names = ("weight", "target", "cap", "direction")
        return [(one, _UNITS[one.unit], [self[f"{name}_{one.key}"] for name in names]) for one in SCORED]

    def head(self) -> list[forms.BoundField]:
        return [self[name] for name in self.base_fields]

    def clean_scorecard_no(self) -> str:
        number: str = NumberCell(30).parse(self.cleaned_data["scorecard_no"])
        same = Scorecard.objects.filter(scorecard_no=number)
        if (same.exclude(pk=self.scorecard.pk) if self.scorecard else same).exists():
            raise ValidationError(_("There is a scorecard with this number: choose another one."))
        return number

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        first, last = cleaned.get("first_month"), cleaned.get("last_month")
        if first and last and last < first:
            self.add_error("last_month", _("It is before the first month."))
        weight = 0
        for measure in SCORED:
            own = cleaned.get(f"weight_{measure.key}")
            if not own:
                continue
            weight += own
            if cleaned.get(f"target_{measure.key}") is None and not self.errors.get(f"target_{measure.key}"):
                self.add_error(f"target_{measure.key}", _("A measure that counts has a target."))
            cap = cleaned.get(f"cap_{measure.key}")
            if (cap is None or cap < 10_000) and not self.errors.get(f"cap_{measure.key}"):
                self.add_error(f"cap_{measure.key}", _("The cap is 100 or more."))
        if not self.errors and weight != 100:
            self.add_error(None, _("The weights come to %(weight)d%%, and not to 100%%.") % {"weight": weight})
        return cleaned

    def days(self) -> tuple[dt.date, dt.date]:
        """The first day, and the day after the last."""
        last = self.cleaned_data["last_month"]
        return month_days(self.cleaned_data["first_month"])[0], month_days(last)[1] + DAY if last else OPEN_END

    def measures(self) -> list[ScorecardMeasure]:
        cleaned = self.cleaned_data
        return [
            ScorecardMeasure(
                measure=one.key,
                weight_bp=cleaned[f"weight_{one.key}"] * 100,
                target=cleaned[f"target_{one.key}"],
                cap_bp=cleaned[f"cap_{one.key}"],
                direction=cleaned[f"direction_{one.key}"] or Direction.HIGHER,
            )
            for one in SCORED
            if cleaned[f"weight_{one.key}"]
        ]


class EndScorecardForm(PlainForm):
    last_month = MonthField(label=pgettext_lazy("of a scorecard", "Last month"), required=False)
