"""What a clerk fills in to enrol a member. The rules are in `portfolios.enrolment`, which says what is wrong."""

import uuid

from django import forms
from django.utils.translation import gettext_lazy as _


class EnrolmentForm(forms.Form):
    """The phone first; the rest once nobody else's card is in the way."""

    phone = forms.CharField(
        label=_("Phone number"),
        max_length=40,
        required=False,
        # A number written to the browser's memory would show the next person that of the last one.
        widget=forms.TextInput(attrs={"type": "tel", "autocomplete": "off", "autofocus": True}),
    )
    name = forms.CharField(
        label=_("Name (may follow later)"),
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off", "autofocus": True}),
    )
    member_no = forms.CharField(
        label=_("Card number"),
        help_text=_("Scan the card or type its number. Leave it empty where there is no card: a number is made."),
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false"}),
    )
    consent = forms.BooleanField(
        label=_("The person agrees that we keep the name and phone number for the card, and may call."),
        required=False,
    )
    another_person = forms.BooleanField(
        label=_("I have asked: this is a different person with the same phone, and has no card."), required=False
    )
    form_token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)
