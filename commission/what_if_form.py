"""What a person asks of a what-if: the months, what of a plan would be different, and whose members would be whose.

What is left empty stays as it is. The address of a page is all that was asked, so that it can be sent to a colleague.
"""

import dataclasses
from typing import Any

from django import forms
from django.db.models import F, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from commission.models import Category, Plan
from commission.money import format_amount, format_bp
from commission.plan_book import Rate
from commission.plan_forms import BandsField, ProductsField, RatioField
from commission.plan_terms import Pays
from commission.recount_terms import Move, Recount, Terms
from commission.what_if import WhatIfError, moved_members
from portfolios.forms import PlainForm
from portfolios.models import Clerk, Member, Month, Store, User, on_date

MOST_CARDS = 2_000


def _clerk_field(label: Any) -> forms.ModelChoiceField:
    return forms.ModelChoiceField(
        Clerk.objects.none(),
        label=label,
        to_field_name="clerk_no",
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "characters"}),
        error_messages={"invalid_choice": gettext_lazy("There is no clerk with this number.")},
    )


def _text_field(label: Any, help_text: Any) -> forms.CharField:
    return forms.CharField(
        label=label, help_text=help_text, required=False, max_length=40_000, widget=forms.Textarea(attrs={"rows": 2})
    )


class WhatIfForm(PlainForm):
    """The fields of the plan that is chosen show what it has now, and are empty."""

    first = forms.ModelChoiceField(Month.objects.none(), label=gettext_lazy("From month"), empty_label=None)
    last = forms.ModelChoiceField(Month.objects.none(), label=gettext_lazy("To month"), empty_label=None)
    store = forms.ModelChoiceField(
        Store.objects.none(),
        label=gettext_lazy("Store"),
        to_field_name="store_no",
        required=False,
        empty_label=gettext_lazy("the chain"),
    )
    plan = forms.ModelChoiceField(Plan.objects.none(), label=gettext_lazy("Plan"), empty_label=None)
    owner_share = RatioField(label=gettext_lazy("Owner share (%)"), required=False)
    house_share = RatioField(label=gettext_lazy("House share (%)"), required=False)
    walk_in_share = RatioField(label=gettext_lazy("Walk-in share (%)"), required=False)
    products = ProductsField(
        label=gettext_lazy("Product rates"),
        help_text=gettext_lazy("One product a line, with a percentage (P0017 2.5%) or an amount per unit (P0017 1.50)"),
        rows=2,
    )
    bands = BandsField(
        label=gettext_lazy("Bands"),
        help_text=gettext_lazy("All steps of the accelerator, one a line: the lowest credit and the rate (30000 2%)"),
        rows=2,
    )
    of = _clerk_field(gettext_lazy("Members of clerk (number)"))
    cards = _text_field(
        gettext_lazy("or members with these card numbers"), gettext_lazy("Separated by blanks or line ends.")
    )
    to = _clerk_field(gettext_lazy("would have been the members of clerk (number)"))

    def __init__(self, data: Any, *, user: User, asked: bool) -> None:
        self.user = user
        months = Month.objects.filter(closed_at__isnull=False).order_by("-pk")
        plans = Plan.objects.for_user(user).filter(valid_from__lte=months[0].ends_on) if months else Plan.objects.none()
        newest = plans.order_by("-valid_from", "plan_no")
        self.shown_plan = _named(newest, data.get("plan", "")) or _in_force(
            _named(months, data.get("last", "")) or months.first(),
            Store.objects.for_user(user).filter(store_no=data.get("store", "")).first(),
            newest,
        )
        super().__init__(data if asked else None, initial={"plan": self.shown_plan, **data.dict()}, label_suffix="")
        for name, choices in (
            ("first", months),
            ("last", months),
            ("plan", newest),
            ("store", Store.objects.for_user(user)),
            ("of", Clerk.objects.for_user(user)),
            ("to", Clerk.objects.for_user(user)),
        ):
            self.fields[name].queryset = choices  # type: ignore[attr-defined]
        if not user.office:
            self.fields["store"].required = True
            self.fields["store"].empty_label = None  # type: ignore[attr-defined]
        self._show_terms()

    def _show_terms(self) -> None:
        self.rates: dict[str, int] = {}
        if self.shown_plan is None:
            return
        self.now = now = Terms.of(self.shown_plan)
        for name in ("owner_share", "house_share", "walk_in_share"):
            self.fields[name].widget.attrs["placeholder"] = format_bp(getattr(now, f"{name}_bp"))
        for category in Category.objects.filter(pk__in=now.rates):
            name = f"rate_{category.category}"
            self.rates[name] = category.pk
            self.fields[name] = RatioField(label=_("%(category)s (%%)") % {"category": category}, required=False)
            self.fields[name].widget.attrs["placeholder"] = format_bp(now.rates[category.pk])
        steps = [f"{format_amount(lower)} {format_bp(rate)}%" for lower, rate in now.bands]
        self.fields["bands"].widget.attrs["placeholder"] = "\n".join(steps)

    # What the page shows together.
    @property
    def when(self) -> list[forms.BoundField]:
        return [self[name] for name in ("first", "last", "store")]

    @property
    def shares_and_rates(self) -> list[forms.BoundField]:
        return [self[name] for name in ("owner_share", "house_share", "walk_in_share", *self.rates)]

    @property
    def steps_and_products(self) -> list[forms.BoundField]:
        return [self[name] for name in ("products", "bands")]

    @property
    def whose(self) -> list[forms.BoundField]:
        return [self[name] for name in ("of", "cards", "to")]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.errors:
            return cleaned
        cleaned["move"] = self._move(cleaned)
        terms = self._terms(cleaned)
        asked = Recount.of(terms, cleaned["move"], cleaned["store"])
        same_bands = terms.bands == self.now.bands
        touched = asked.kinds or asked.by_line or not same_bands
        if not touched and cleaned["move"] is None:
            raise forms.ValidationError(
                _("Nothing would be different yet: change a share, a rate, a band or an owner.")
            )
        cleaned["terms"] = terms if touched else None
        return cleaned

    def _terms(self, cleaned: dict[str, Any]) -> Terms:
        shares = {
            f"{name}_bp": cleaned[name]
            for name in ("owner_share", "house_share", "walk_in_share")
            if cleaned[name] is not None
        }
        rates = {category: cleaned[name] for name, category in self.rates.items() if cleaned[name] is not None}
        bands = tuple(sorted(cleaned["bands"].items())) or self.now.bands
        products = {number: _rate(pays) for number, pays in cleaned["products"].items()}
        return dataclasses.replace(
            self.now,
            **shares,
            rates={**self.now.rates, **rates},
            products={**self.now.products, **products},
            bands=bands,
        )

    def _move(self, cleaned: dict[str, Any]) -> Move | None:
        cards = cleaned["cards"].split()
        if not cards and cleaned["of"] is None and cleaned["to"] is None:
            return None
        if cleaned["to"] is None:
            self.add_error("to", _("Whose members would they have been? Give the clerk's number."))
            return None
        if bool(cards) == bool(cleaned["of"]):
            self.add_error("of", _("Give either a clerk whose members move, or card numbers."))
            return None
        if len(cards) > MOST_CARDS:
            self.add_error("cards", _("At most %(most)d card numbers.") % {"most": MOST_CARDS})
            return None
        try:
            members = moved_members(cards, Member.objects.for_user(self.user, timezone.localdate()))
        except WhatIfError as unknown:
            self.add_error("cards", str(unknown))
            return None
        return Move(to=cleaned["to"], of=cleaned["of"], members=members)


def _named(rows: QuerySet[Any], key: str) -> Any:
    return rows.filter(pk=key).first() if key.isdecimal() else None


def _in_force(month: Month | None, store: Store | None, plans: QuerySet[Plan]) -> Plan | None:
    """The store's plan at the month's end, or the chain's: what a question is most likely about."""
    if month is None:
        return None
    scope = Q(store=None) | Q(store=store) if store else Q(store=None)
    there = plans.filter(scope, on_date(month.ends_on))
    return there.order_by(F("store").asc(nulls_last=True)).first() or plans.first()


def _rate(pays: Pays) -> Rate:
    return Rate(rate_bp=pays.rate_bp, unit_amount=pays.unit_amount)
