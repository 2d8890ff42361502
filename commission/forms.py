"""What a person fills in to find a ticket, and to ask that its member or server is corrected.

The rules are in `commission.ticket_corrections`, which says what is wrong.
"""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from commission.inquiry_models import Inquiry
from commission.models import Sale, SalePart
from commission.ticket_corrections import may_have_served
from portfolios.forms import PlainForm
from portfolios.models import Clerk, Store


class FindTicketForm(PlainForm):
    store = forms.ModelChoiceField(Store.objects.all(), label=_("Store"), to_field_name="store_no", empty_label=None)
    date = forms.DateField(
        label=_("Date of the sale"), widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    ticket_no = forms.CharField(
        label=_("Ticket number"), max_length=40, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )


def _reason() -> forms.CharField:
    return forms.CharField(
        label=_("What happened"), max_length=500, required=False, widget=forms.Textarea(attrs={"rows": 2})
    )


class MemberCorrectionForm(PlainForm):
    """Another card, or none at all."""

    prefix = "member"

    card = forms.CharField(
        label=_("Card or phone number of the member"),
        max_length=40,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    no_card = forms.BooleanField(label=_("The sale had no member"), required=False)
    reason = _reason()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if bool((cleaned.get("card") or "").strip()) == bool(cleaned.get("no_card")):
            self.add_error("card", _("Give a card or phone number, or tick that the sale had no member."))
        return cleaned


class _Server(forms.ModelChoiceField):
    def label_from_instance(self, obj: Any) -> str:
        return f"{obj.name} {obj.clerk_no}"


class _Part(forms.ModelChoiceField):
    """The parts of a ticket, by the line that each begins with; `named` says who is booked as the server."""

    named = False

    def of(self, sale: Sale, *, named: bool) -> bool:
        """Offers the sales on the ticket, without asking where there is one; returns whether there are any."""
        self.named = named
        self.queryset = (
            sale.parts.filter(original__isnull=True, settled=False).select_related("server").order_by("number")
        )
        only = self.queryset[:2]
        if len(only) == 1:
            self.initial = only[0]
            self.widget = forms.HiddenInput()
        return bool(only)

    def label_from_instance(self, obj: Any) -> str:
        server = (obj.server.name if obj.server else str(_("nobody"))) if self.named else ""
        return str(_("from line %(line)d") % {"line": obj.number}) + (f" · {server}" if server else "")


class ServerCorrectionForm(PlainForm):
    """Another clerk, or nobody, for one part of the ticket."""

    prefix = "server"

    part = _Part(SalePart.objects.none(), label=_("Lines"), empty_label=None)
    server = _Server(Clerk.objects.none(), label=_("Who served"), required=False, empty_label=_("nobody"))
    reason = _reason()

    def __init__(self, *args: Any, sale: Sale, named: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        part, server = self.fields["part"], self.fields["server"]
        assert isinstance(part, _Part)
        assert isinstance(server, _Server)
        server.queryset = may_have_served(sale.store, sale.business_date)
        self.has_parts = part.of(sale, named=named)


class DecisionForm(PlainForm):
    note = forms.CharField(label=_("Note"), max_length=500, required=False)


def what_is_not_right() -> forms.CharField:
    return forms.CharField(
        label=_("What is not right, and how do you know?"),
        max_length=1000,
        required=False,
        widget=forms.Textarea(attrs={"rows": 4}),
    )


class TicketQuestionForm(PlainForm):
    """What a clerk says of a ticket: who served, or whose member it was."""

    part = _Part(SalePart.objects.none(), label=_("Lines"), empty_label=None)
    claim = forms.ChoiceField(
        label=_("What do you say?"),
        choices=[
            (claim.value, claim.label) for claim in (Inquiry.Claim.SERVED, Inquiry.Claim.MEMBER, Inquiry.Claim.OWNED)
        ],
        widget=forms.RadioSelect,
    )
    card = forms.CharField(
        label=_("Your member's card or phone number, where another card or none was used"),
        max_length=40,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    text = what_is_not_right()

    def __init__(self, *args: Any, sale: Sale, named: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        part = self.fields["part"]
        assert isinstance(part, _Part)
        self.has_parts = part.of(sale, named=named)


class BindingQuestionForm(PlainForm):
    text = what_is_not_right()
