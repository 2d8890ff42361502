"""What somebody copies from a payslip, or the file itself, to learn whether it is one of ours."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from portfolios.forms import PlainForm

# Larger than any PDF that is made here.
LARGEST_FILE = 4_000_000


class PrintedForm(PlainForm):
    number = forms.CharField(
        label=_("Number of the clerk or store (a chain register has none)"), max_length=40, required=False
    )
    month = forms.CharField(
        label=_("Month (of an annual statement the last one)"),
        max_length=7,
        widget=forms.TextInput(attrs={"placeholder": "2026-10", "inputmode": "numeric"}),
    )
    code = forms.CharField(label=_("Verification code"), max_length=40)
    amount = forms.CharField(
        label=_("To be paid, gross"), max_length=30, widget=forms.TextInput(attrs={"inputmode": "decimal"})
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget.attrs |= {"autocomplete": "off", "spellcheck": "false"}


class FileForm(PlainForm):
    file = forms.FileField(
        label=_("PDF file"), allow_empty_file=True, widget=forms.FileInput(attrs={"accept": "application/pdf"})
    )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > LARGEST_FILE:
            raise forms.ValidationError(_("No payslip is larger than 4 MB: choose the PDF itself."))
        return file
