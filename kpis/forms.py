"""What a manager chooses for a change of owners, kind by kind."""

import datetime as dt
from typing import Any

from django import forms
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from kpis.leaving import home_clerks
from kpis.models import Proposal
from kpis.proposals import HAND_OVER_KEEP_BP, Options
from portfolios.forms import PercentField, PlainForm
from portfolios.models import Binding, Clerk, Posting, Store, on_date

Kind = Proposal.Kind


class ChangeForm(PlainForm):
    """Effective date, note and who takes members: what every kind asks."""

    on = forms.DateField(
        label=_("Takes effect on"),
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        help_text=_("At the start of that day: a sale of that date goes to the new owner."),
    )
    takers = forms.ModelMultipleChoiceField(
        Clerk.objects.none(),
        label=_("Who takes members"),
        to_field_name="clerk_no",
        widget=forms.CheckboxSelectMultiple,
        required=False,
        error_messages={
            "invalid_choice": _("%(value)s does not serve in this store on that day: choose another day, or others.")
        },
    )
    note = forms.CharField(
        label=_("Note"),
        max_length=500,
        required=False,
        help_text=_("Why: it stays on record with the change."),
    )

    def __init__(self, *args: Any, kind: Proposal.Kind, store: Store, on: dt.date, **options: Any) -> None:
        super().__init__(*args, **options)
        self.kind, self.store = kind, store
        self.fields["on"].initial = on
        weights = dict(
            Posting.objects.clerk_postings().filter(on_date(on), store=store).values_list("clerk", "weight_percent")
        )
        takers = self.fields["takers"]
        assert isinstance(takers, forms.ModelMultipleChoiceField)
        takers.queryset = Clerk.objects.posted_to(store, on)
        takers.label_from_instance = lambda clerk: (  # type: ignore[method-assign,assignment]
            f"{clerk.name} {clerk.clerk_no}" + ("" if weights[clerk.pk] == 100 else f" · {weights[clerk.pk]}%")
        )
        if kind != Kind.REASSIGNMENT:
            takers.initial = [clerk.clerk_no for clerk in takers.queryset if weights[clerk.pk]]

    def asked(self) -> dict[str, Any]:
        """The options of this kind, from the cleaned fields."""
        return {}

    def options(self) -> Options:
        return Options(takers=tuple(clerk.clerk_no for clerk in self.cleaned_data["takers"]), **self.asked())

    @property
    def hands_over(self) -> Clerk | None:
        """Who hands over, where the kind asks for it."""
        found: Clerk | None = self.cleaned_data.get("clerk")
        return found


class SplitForm(ChangeForm):
    again = forms.ChoiceField(
        label=_("Which members"),
        choices=[("1", _("all members of the store, but for locked ones")), ("", _("only those without an owner"))],
        required=False,
        initial="1",
        widget=forms.RadioSelect,
    )
    keep_within = PercentField(
        label=_("Keep members with who served them most while the spread of spend stays under (%)"),
        required=False,
        help_text=_("Empty: the fairest split, whoever served them."),
    )

    def asked(self) -> dict[str, Any]:
        return {"again": bool(self.cleaned_data["again"]), "keep_within_bp": self.cleaned_data["keep_within"]}


class UnassignedForm(ChangeForm):
    keep_within = PercentField(
        label=_("Keep members with who served them most while the spread of spend stays under (%)"), required=False
    )

    def asked(self) -> dict[str, Any]:
        return {"keep_within_bp": self.cleaned_data["keep_within"]}


class RebalanceForm(ChangeForm):
    spread = PercentField(label=_("Bring the spread of spend to at most (%)"), initial=500)
    counts_within = PercentField(
        label=_("Bring every clerk's number of members to within (%) of the fair one"),
        required=False,
        help_text=_("Empty: nobody's number gets further from it than it is. 10 helps a clerk who is new."),
    )

    def asked(self) -> dict[str, Any]:
        return {"spread_bp": self.cleaned_data["spread"], "counts_within_bp": self.cleaned_data["counts_within"]}


class ReassignmentForm(ChangeForm):
    to_list = forms.BooleanField(label=_("Nobody: send them to the unassigned list"), required=False)

    field_order: tuple[str, ...] = ("on", "takers", "to_list", "note")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if not cleaned.get("to_list") and not cleaned.get("takers"):
            self.add_error("takers", _("Choose who takes the members: one clerk, or several to share them fairly."))
        if cleaned.get("to_list") and cleaned.get("takers"):
            self.add_error("to_list", _("Choose clerks or the unassigned list, not both."))
        return cleaned

    def asked(self) -> dict[str, Any]:
        return {"to_list": self.cleaned_data["to_list"]}


class HandOverForm(ReassignmentForm):
    clerk = forms.ModelChoiceField(Clerk.objects.none(), label=_("Who hands over"), to_field_name="clerk_no")
    keep_within = PercentField(
        label=_("Keep members with who served them most while the spread of spend stays under (%)"),
        required=False,
        initial=HAND_OVER_KEEP_BP,
    )

    field_order = ("clerk", "on", "takers", "to_list", "keep_within", "note")

    def __init__(self, *args: Any, store: Store, on: dt.date, **options: Any) -> None:
        super().__init__(*args, store=store, on=on, **options)
        clerks = self.fields["clerk"]
        assert isinstance(clerks, forms.ModelChoiceField)
        clerks.queryset = holders(store, on)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("clerk") and cleaned["clerk"] in cleaned.get("takers", ()):
            self.add_error("takers", _("Who hands over can't take the members: leave that clerk out."))
        return cleaned

    def asked(self) -> dict[str, Any]:
        return super().asked() | {"keep_within_bp": self.cleaned_data["keep_within"]}


def holders(store: Store, on: dt.date) -> Any:
    """The clerks who hold members on a date and have or had this store as home store, whether or not they have left."""
    bound = Binding.objects.valid().filter(on_date(on)).values("clerk")
    posted = Posting.objects.clerk_postings().filter(store=store).values("clerk")
    return Clerk.objects.filter(Q(pk__in=bound), pk__in=posted)


FORMS: dict[str, type[ChangeForm]] = {
    Kind.SPLIT: SplitForm,
    Kind.UNASSIGNED: UnassignedForm,
    Kind.REBALANCE: RebalanceForm,
    Kind.REASSIGNMENT: ReassignmentForm,
    Kind.HAND_OVER: HandOverForm,
}


class LeavingForm(PlainForm):
    """Who goes, when, and where to."""

    clerk = forms.ModelChoiceField(Clerk.objects.none(), label=_("Who goes"), to_field_name="clerk_no")
    to_store = forms.ModelChoiceField(
        Store.objects.all(),
        label=_("Where to"),
        to_field_name="store_no",
        required=False,
        empty_label=_("leaves the company"),
    )
    last_day = forms.DateField(
        label=_("Last day here"),
        required=False,
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        help_text=_("Empty takes the last day of a leaver back."),
    )

    def __init__(self, *args: Any, store: Store, on: dt.date, **options: Any) -> None:
        super().__init__(*args, **options)
        clerks, to_store = self.fields["clerk"], self.fields["to_store"]
        assert isinstance(clerks, forms.ModelChoiceField)
        assert isinstance(to_store, forms.ModelChoiceField)
        clerks.queryset = Clerk.objects.filter(pk__in=home_clerks(store, on))
        to_store.queryset = Store.objects.exclude(pk=store.pk)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("to_store") and not cleaned.get("last_day") and "last_day" not in self.errors:
            self.add_error("last_day", _("Choose the last day in this store."))
        return cleaned
