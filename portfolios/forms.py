"""What a clerk fills in to enrol a member, and fields that forms of every app use.

The rules of enrolment are in `portfolios.enrolment`, which says what is wrong.
"""

import uuid
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

_EMPTY = forms.Field.default_error_messages["required"]
_NO_DATE = forms.DateField.default_error_messages["invalid"]


class SaysWhatToDo(forms.BaseForm):
    """A field that is left empty, or holds no date, is told by name or by what it holds, and how to put it right."""

    def add_error(self, field: str | None, error: Any) -> None:
        message = getattr(error, "message", None)
        if field and message == _EMPTY:
            error = ValidationError(gettext("Fill in “%(label)s”: it may not be empty.") % {"label": self[field].label})
        elif field and message == _NO_DATE:
            said = gettext('"%(asked)s" is no date: write it as 2026-03-01.') % {"asked": self[field].data}
            error = ValidationError(said)
        super().add_error(field, error)


class PlainForm(SaysWhatToDo, forms.Form):
    """What every form of the product is."""


class PercentField(forms.DecimalField):
    """A percentage with at most two decimals, as basis points; empty is None."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_value=0, max_value=1000, decimal_places=2, **options)

    def clean(self, value: Any) -> int | None:
        percent = super().clean(value)
        return None if percent is None else int(percent * 100)

    def prepare_value(self, value: Any) -> Any:
        return value / 100 if isinstance(value, int) else value


class EnrolmentForm(PlainForm):
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
