"""Tokens by which a till's software reads and writes through the API, for one store or for the chain.

A token is shown once, when it is made; what is kept is the SHA-256 of its secret, 32 random bytes that nobody guesses.
It is never deleted or made valid again: bookings name it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext_lazy as _

from portfolios.database_rules import AppendOnly
from portfolios.models import Store

# Noted once an hour: to know that a token is in use needs no write with every request.
_NOTED_EVERY = dt.timedelta(hours=1)


class ApiTokenManager(models.Manager["ApiToken"]):
    def issue(self, *, name: str, store: Store | None, created_by: str, expires_on: dt.date) -> tuple[ApiToken, str]:
        """A new token, and the text that stands for it, which cannot be had again."""
        mark, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
        token = self.create(
            name=name,
            store=store,
            mark=mark,
            secret_hash=_hash(secret),
            created_by=created_by,
            expires_on=expires_on,
        )
        return token, f"{mark}.{secret}"

    def valid(self, text: str) -> ApiToken | None:
        """The token that a text stands for, unless it was revoked or has expired; notes that it was used."""
        mark, _dot, secret = text.partition(".")
        # PostgreSQL takes no NUL in a text.
        token = None if "\0" in mark else self.select_related("store").filter(mark=mark).first()
        # Compared also where there is nothing to compare with: the time it takes tells nothing of the mark.
        same = constant_time_compare(_hash(secret), token.secret_hash if token else "")
        if token is None or not same or token.revoked_at or token.expires_on <= timezone.localdate():
            return None
        now = timezone.now()
        long_ago = Q(last_used_at=None) | Q(last_used_at__lt=now - _NOTED_EVERY)
        if token.last_used_at is None or token.last_used_at < now - _NOTED_EVERY:
            self.filter(long_ago, pk=token.pk, revoked_at=None).update(last_used_at=now)
        return token


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


class ApiToken(models.Model):
    name = models.CharField(_("name"), max_length=100)
    # None: every store of the chain.
    store = models.ForeignKey(Store, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("store"))
    # The first half of the token's text: it is no secret, and names the token in lists and bookings.
    mark = models.CharField(_("mark"), max_length=8, unique=True)
    secret_hash = models.CharField(_("hash of the secret"), max_length=64)
    created_by = models.CharField(_("created by"), max_length=150)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    # The first day on which it no longer counts.
    expires_on = models.DateField(_("expires on"))
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True)
    last_used_at = models.DateTimeField(_("last used at"), null=True, blank=True)

    objects = ApiTokenManager()

    class Meta:
        ordering = ["id"]
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        constraints = [
            models.CheckConstraint(name="api_token_has_a_name", condition=~Q(name="")),
            AppendOnly(name="api_token_stays", mutable=["revoked_at", "last_used_at"], allow="OLD.revoked_at IS NULL"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.mark})"

    def stores(self) -> models.QuerySet[Store]:
        """The stores that it reads and writes for; any other answers as if it were not there."""
        return Store.objects.all() if self.store_id is None else Store.objects.filter(pk=self.store_id)
