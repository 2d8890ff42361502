"""Clerks' identity documents, which the tax office asks for: what is kept, what a number must look like, who read it.

A resident ID card has 18 characters by GB 11643: six digits of a place, the day of birth, three digits, and a last
character that the others determine. 11010519491231002X is one; with any other last character it is an error. Only HR
sees the numbers, masked on pages (110***********002X); whoever has one shown in full is on record.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Length
from django.db.models.lookups import Exact
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portfolios.database_rules import AppendOnly
from portfolios.models import Clerk, User
from portfolios.phones import masked

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser

RESIDENT_ID_LENGTH = 18
_RESIDENT_ID = re.compile(r"[1-9][0-9]{16}[0-9X]", re.ASCII)
_OTHER_NUMBER = re.compile(r"[A-Z0-9][A-Z0-9()-]{3,29}", re.ASCII)
# GB 11643-1999: the sum of the digits times their weights, modulo 11, names the last character.
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_LAST = "10X98765432"


class IdentityDocumentQuerySet(models.QuerySet["IdentityDocument"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The documents the user may see: all for HR, none for anybody else, an auditor included."""
        return self if isinstance(user, User) and user.is_active and user.is_hr else self.none()


class IdentityDocument(models.Model):
    """The document by which the tax office knows a clerk: one each, the one that is valid now."""

    class Kind(models.TextChoices):
        RESIDENT_ID = "resident_id", gettext_lazy("resident ID card")
        CHINESE_PASSPORT = "chinese_passport", gettext_lazy("Chinese passport")
        HK_MACAO_PERMIT = "hk_macao_permit", gettext_lazy("travel permit for residents of Hong Kong and Macao")
        HK_MACAO_RESIDENCE = "hk_macao_residence", gettext_lazy("residence permit for residents of Hong Kong and Macao")
        TAIWAN_PERMIT = "taiwan_permit", gettext_lazy("travel permit for residents of Taiwan")
        TAIWAN_RESIDENCE = "taiwan_residence", gettext_lazy("residence permit for residents of Taiwan")
        FOREIGN_PASSPORT = "foreign_passport", gettext_lazy("foreign passport")
        PERMANENT_RESIDENCE = "permanent_residence", gettext_lazy("foreigner's permanent residence card")

    clerk = models.OneToOneField(
        Clerk, models.PROTECT, related_name="identity_document", verbose_name=gettext_lazy("clerk")
    )
    kind = models.CharField(gettext_lazy("identity document"), max_length=20, choices=Kind, default=Kind.RESIDENT_ID)
    number = models.CharField(gettext_lazy("document number"), max_length=30)

    objects = IdentityDocumentQuerySet.as_manager()

    class Meta:
        ordering = ["clerk"]
        verbose_name = gettext_lazy("identity document")
        verbose_name_plural = gettext_lazy("identity documents")
        constraints = [
            models.CheckConstraint(
                name="resident_id_is_whole",
                condition=~Q(kind="resident_id") | Q(Exact(Length("number"), RESIDENT_ID_LENGTH)),
            )
        ]

    def __str__(self) -> str:
        return f"{self.clerk} {self.kind}"

    @property
    def masked_number(self) -> str:
        return masked(self.number)


class IdentityRead(models.Model):
    """That someone had the number of a clerk's identity document shown in full on a page."""

    user = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=gettext_lazy("read by"))
    read_at = models.DateTimeField(gettext_lazy("read at"), auto_now_add=True)
    clerk = models.ForeignKey(Clerk, models.PROTECT, related_name="+", verbose_name=gettext_lazy("clerk"))

    class Meta:
        ordering = ["-id"]
        verbose_name = gettext_lazy("identity number read")
        verbose_name_plural = gettext_lazy("identity numbers read")
        constraints = [AppendOnly(name="identity_read_stays")]

    def __str__(self) -> str:
        return f"{self.user} {self.clerk}"


# As the client of the tax office writes them, in a file of whatever language.
TAX_WORDS = {
    IdentityDocument.Kind.RESIDENT_ID: "居民身份证",
    IdentityDocument.Kind.CHINESE_PASSPORT: "中国护照",
    IdentityDocument.Kind.HK_MACAO_PERMIT: "港澳居民来往内地通行证",
    IdentityDocument.Kind.HK_MACAO_RESIDENCE: "港澳居民居住证",
    IdentityDocument.Kind.TAIWAN_PERMIT: "台湾居民来往大陆通行证",
    IdentityDocument.Kind.TAIWAN_RESIDENCE: "台湾居民居住证",
    IdentityDocument.Kind.FOREIGN_PASSPORT: "外国护照",
    IdentityDocument.Kind.PERMANENT_RESIDENCE: "外国人永久居留身份证",
}
# Residence permits of Hong Kong, Macao and Taiwan residents are numbered by the same standard.
_BY_THE_STANDARD = (
    IdentityDocument.Kind.RESIDENT_ID,
    IdentityDocument.Kind.HK_MACAO_RESIDENCE,
    IdentityDocument.Kind.TAIWAN_RESIDENCE,
)


def number_fault(kind: str, number: str, *, today: dt.date) -> str:
    """Why that can't be the number of such a document, in a sentence; "" where it can be."""
    if kind not in _BY_THE_STANDARD:
        return "" if _OTHER_NUMBER.fullmatch(number) else _("It has 4 to 30 capital letters and digits.")
    if not _RESIDENT_ID.fullmatch(number):
        return _("It has 17 digits and a last character that is a digit or X.")
    try:
        born = dt.datetime.strptime(number[6:14], "%Y%m%d").date()
    except ValueError:
        born = dt.date.max
    if born >= today:
        return _("Its digits 7 to 14 are no day of birth.")
    if number[-1] != _last_character(number):
        return _("Its last character does not fit the others: a digit is wrong.")
    return ""


def _last_character(number: str) -> str:
    return _LAST[sum(int(digit) * weight for digit, weight in zip(number, _WEIGHTS, strict=False)) % 11]


def read_in_full(document: IdentityDocument, *, by: User) -> str:
    """A document's number, for a page; that it was read is on record."""
    IdentityRead.objects.create(user=by, clerk=document.clerk)
    return document.number
