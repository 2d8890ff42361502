"""What HR fills in for a plan: number, scope and dates, shares, and what categories, products and bands pay.

Products and bands are written a line each, so that a list from a spreadsheet can be pasted: "P100 3.5%" or "P101 2.00"
(an amount per unit); "30000 2%" for a band.
"""

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from commission.models import Category, Plan
from commission.money import format_amount, format_bp
from commission.plan_terms import EXCLUDED, Pays, PlanTerms
from commission.resources import AmountCell
from portfolios.forms import PlainForm
from portfolios.models import OPEN_END, Store
from portfolios.roster_files import NumberCell, RatioCell, RowProblem

_PAIR = re.compile(r"(.*\S)[\s,;]+([^\s,;]+)")
_DATE = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")


class RatioField(forms.Field):
    """A percentage with at most two decimals; basis points, or None where it may be empty."""

    def __init__(self, **options: Any) -> None:
        attrs = {"inputmode": "decimal", "autocomplete": "off", "maxlength": 7}
        super().__init__(widget=forms.TextInput(attrs=attrs), **options)

    def prepare_value(self, value: Any) -> Any:
        return format_bp(value) if isinstance(value, int) else value

    def to_python(self, value: Any) -> Any:
        text = str(value or "").strip().removesuffix("%").strip()
        return RatioCell().parse(text) if text else None


class PairsField(forms.Field):
    """Lines of two words each; what they mean is left to `read`. A dict by the first word."""

    def __init__(self, *, rows: int = 6, **options: Any) -> None:
        widget = forms.Textarea(attrs={"rows": rows, "maxlength": 40_000, "spellcheck": "false"})
        super().__init__(required=False, widget=widget, **options)

    def to_python(self, value: Any) -> Any:
        found: dict[Any, Any] = {}
        problems = []
        for number, text in enumerate(str(value or "").splitlines(), 1):
            if not text.strip():
                continue
            try:
                first, second = self.read(text.strip())
                if first in found:
                    raise RowProblem(_("It is there twice."))
                found[first] = second
            except RowProblem as problem:
                problems.append(_("Line %(line)d: %(problem)s") % {"line": number, "problem": problem.messages[0]})
        if problems:
            raise ValidationError(problems[:20])
        return found

    def read(self, text: str) -> tuple[Any, Any]:
        raise NotImplementedError

    def split(self, text: str) -> tuple[str, str]:
        match = _PAIR.fullmatch(text)
        if match is None:
            raise RowProblem(_("It has one word where two are needed."))
        return match[1].rstrip(",;"), match[2]


class ProductsField(PairsField):
    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return "\n".join(
            f"{product_no} {format_amount(pays.unit_amount)}"
            if pays.unit_amount is not None
            else f"{product_no} {format_bp(pays.rate_bp or 0)}%"
            for product_no, pays in value.items()
        )

    def read(self, text: str) -> tuple[str, Pays]:
        product_no, pays = self.split(text)
        product_no = NumberCell(50).parse(product_no)
        if pays.endswith("%"):
            return product_no, Pays(RatioCell().parse(pays[:-1]))
        return product_no, Pays(unit_amount=AmountCell().parse(pays))


class BandsField(PairsField):
    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return "\n".join(f"{format_amount(lower)} {format_bp(rate_bp)}%" for lower, rate_bp in value.items())

    def read(self, text: str) -> tuple[int, int]:
        lower, rate = self.split(text)
        return AmountCell().parse(lower), RatioCell().parse(rate.removesuffix("%"))


class PlanForm(PlainForm):
    """A plan's terms. Of one that is issued, number, scope and dates stay as they are."""

    plan_no = forms.CharField(
        label=gettext_lazy("Number"), max_length=30, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    store = forms.ModelChoiceField(
        Store.objects.all(), label=gettext_lazy("For"), required=False, empty_label=gettext_lazy("the whole chain")
    )
    valid_from = forms.DateField(label=gettext_lazy("First day"), widget=_DATE)
    last_day = forms.DateField(
        label=gettext_lazy("Last day"),
        required=False,
        widget=_DATE,
        help_text=gettext_lazy("Empty: until another plan follows."),
    )
    owner_share = RatioField(label=gettext_lazy("Owner's share where another clerk serves (%)"))
    house_share = RatioField(label=gettext_lazy("Store's share of an unowned member's sale (%)"))
    walk_in_share = RatioField(label=gettext_lazy("Server's share of a sale without a member (%)"))
    products = ProductsField(
        label=gettext_lazy("Single products"),
        help_text=gettext_lazy(
            "One a line: the product's number, then a percentage (P100 3.5%) or an amount per unit (P101 2.00)."
        ),
    )
    bands = BandsField(
        label=gettext_lazy("Accelerator"),
        help_text=gettext_lazy(
            "One band a line: from which credit of a month on, and what it adds (30000 2%). The plan then begins on a "
            "month's first day."
        ),
    )

    def __init__(self, *args: Any, plan: Plan | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.plan = plan
        self.categories = list(Category.objects.order_by("pk"))
        for category in self.categories:
            self.fields[f"rate_{category.pk}"] = RatioField(label=str(category), required=False)
            self.fields[f"excluded_{category.pk}"] = forms.BooleanField(label=_("excluded"), required=False)
        if plan is not None and plan.is_issued:
            for name in ("plan_no", "store", "valid_from", "last_day"):
                del self.fields[name]

    @staticmethod
    def filled_in(terms: PlanTerms) -> dict[str, Any]:
        """The terms as initial values."""
        initial: dict[str, Any] = {
            "owner_share": terms.owner_share_bp,
            "house_share": terms.house_share_bp,
            "walk_in_share": terms.walk_in_share_bp,
            "products": terms.products,
            "bands": terms.bands,
        }
        for category in Category.objects.all():
            default = EXCLUDED if category.excluded else None
            pays = terms.rates.get(category.pk, default)
            initial[f"excluded_{category.pk}"] = pays == EXCLUDED
            initial[f"rate_{category.pk}"] = pays.rate_bp if pays else None
        return initial

    def rates(self) -> list[tuple[Category, forms.BoundField, forms.BoundField]]:
        return [(one, self[f"rate_{one.pk}"], self[f"excluded_{one.pk}"]) for one in self.categories]

    def clean_plan_no(self) -> str:
        number: str = NumberCell(30).parse(self.cleaned_data["plan_no"])
        same = Plan.objects.filter(plan_no=number)
        if (same.exclude(pk=self.plan.pk) if self.plan else same).exists():
            raise ValidationError(_("There is a plan with this number: choose another one."))
        return number

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        first, last = cleaned.get("valid_from"), cleaned.get("last_day")
        if first and last and last < first:
            self.add_error("last_day", _("It is before the first day."))
        for category in self.categories:
            rate = cleaned.get(f"rate_{category.pk}")
            if rate is not None and cleaned.get(f"excluded_{category.pk}"):
                self.add_error(f"rate_{category.pk}", _("Either a rate, or excluded."))
        return cleaned

    @property
    def valid_to(self) -> dt.date:
        last: dt.date | None = self.cleaned_data["last_day"]
        return last + dt.timedelta(days=1) if last else OPEN_END

    def terms(self) -> PlanTerms:
        cleaned = self.cleaned_data
        rates = {}
        for category in self.categories:
            rate_bp = cleaned[f"rate_{category.pk}"]
            if rate_bp is not None or cleaned[f"excluded_{category.pk}"]:
                rates[category.pk] = Pays(rate_bp)
        return PlanTerms(
            cleaned["owner_share"],
            cleaned["house_share"],
            cleaned["walk_in_share"],
            rates,
            cleaned["products"],
            cleaned["bands"],
        )


class EndPlanForm(PlainForm):
    last_day = forms.DateField(label=gettext_lazy("Last day"), required=False, widget=_DATE)
