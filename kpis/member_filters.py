"""What the members table finds: within what a person may see, by name, card, phone, owner, tier, purchase and risk.

"1234" finds the cards and names that begin with it, and the members whose phone ends on it. What cannot be read finds
nothing and says why: a filter that was mistyped must never stand for everybody.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

import django_filters
from django import forms
from django.db.models import Q, QuerySet
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from kpis.member_figures import figures_as_of
from portfolios.models import Clerk, Member, MemberQuerySet, Store, User, on_date
from portfolios.sentences import joined

PHONE_TAIL_DIGITS = 4
SEARCH_LENGTH = 100


class FilterError(ValueError):
    """A filter that can't be read; the message says which part, and why."""


class MemberFilter(django_filters.FilterSet):
    """The open cards on a date that a person may see, narrowed down by a query string."""

    q = django_filters.CharFilter(
        method="search",
        label=_("Name, card number or last four digits of the phone"),
        max_length=SEARCH_LENGTH,
        widget=forms.TextInput(attrs={"type": "search", "autocomplete": "off"}),
    )
    store = django_filters.CharFilter(method="already", widget=forms.HiddenInput())
    owner = django_filters.CharFilter(method="owned_by", label=_("Owner"))
    tier = django_filters.ChoiceFilter(
        field_name="figures__tier",
        label=_("Tier"),
        choices=[("A", "A"), ("B", "B"), ("C", "C")],
        empty_label=pgettext_lazy("tier", "any"),
    )
    bought_from = django_filters.DateFilter(
        field_name="figures__last_purchase_on",
        lookup_expr="gte",
        label=_("Last purchase from"),
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
    )
    bought_to = django_filters.DateFilter(
        field_name="figures__last_purchase_on",
        lookup_expr="lte",
        label=_("Last purchase until"),
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
    )
    at_risk = django_filters.BooleanFilter(method="risky", label=_("At risk"), widget=forms.CheckboxInput())
    unassigned = django_filters.BooleanFilter(
        method="without_owner", label=_("Without an owner"), widget=forms.CheckboxInput()
    )

    class Meta:
        model = Member
        fields: list[str] = []

    def __init__(self, data: Mapping[str, Any], *, user: User, on: dt.date) -> None:
        self.user, self.on = user, on
        super().__init__(data, queryset=self._visible(data.get("store", "")).counting(on))

    def _visible(self, store_no: str) -> MemberQuerySet:
        """The members that the user may see, of one store where the query string names one."""
        visible = Member.objects.for_user(self.user, self.on)
        if not store_no:
            return visible
        store = Store.objects.for_user(self.user).filter(store_no=store_no).first()
        if store is None:
            return Member.objects.none()
        # Whoever manages a store, and HR, sees its members: there is no need to look for each in all that one sees.
        return Member.objects.filter(store=store) if not self.user.office or self.user.is_hr else visible.none()

    def found(self) -> QuerySet[Member]:
        """The members that the query string finds. Raises FilterError."""
        if not self.is_valid():
            problems = [
                _("%(name)s: %(text)s") % {"name": self.filters[name].label, "text": error}
                for name, (error, *_more) in self.errors.items()
            ]
            raise FilterError(joined(*problems))
        members: QuerySet[Member] = self.qs
        return members

    def search(self, members: QuerySet[Member], _name: str, value: str) -> QuerySet[Member]:
        # What begins with it does not come before it: so a walk along the names in order knows where to begin.
        wanted = Q(name__startswith=value, name__gte=value)
        if value.isascii():
            # A card number has no Chinese in it, and names alone are found by one index.
            wanted |= Q(member_no__startswith=value)
        if len(value) == PHONE_TAIL_DIGITS and value.isdecimal():
            wanted |= Q(phone_tail=value)
        return members.filter(wanted)

    def already(self, members: QuerySet[Member], _name: str, _value: str) -> QuerySet[Member]:
        """The store narrows down what is visible, before any other filter."""
        return members

    def owned_by(self, members: QuerySet[Member], _name: str, value: str) -> QuerySet[Member]:
        clerk = Clerk.objects.filter(clerk_no=value).first()
        if clerk is None or (clerk.left_on and clerk.left_on < self.on):
            return members.none()
        owned = clerk.bindings.filter(on_date(self.on), voided_by=None)
        return members.filter(pk__in=owned.order_by().values("member"))

    def risky(self, members: QuerySet[Member], _name: str, value: bool) -> QuerySet[Member]:
        if not value:
            return members
        as_of = figures_as_of()
        return members.filter(figures__at_risk_on__lte=as_of) if as_of else members.none()

    def without_owner(self, members: QuerySet[Member], _name: str, value: bool) -> QuerySet[Member]:
        return members.unassigned(self.on) if value else members  # type: ignore[attr-defined]


def matching(user: User, data: QueryDict, on: dt.date) -> QuerySet[Member]:
    """The open cards on a date that a query string of the members table finds, and that the user may see.

    Raises FilterError for a query string that can't be read.
    """
    return MemberFilter(data, user=user, on=on).found()
