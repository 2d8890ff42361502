"""What an import on the pages changed, row by row and as a file would write it, so that it can be taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from portfolios.database_rules import AppendOnly
from portfolios.models import User

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser


class AppliedImportQuerySet(models.QuerySet["AppliedImport"]):
    def for_user(self, user: User | AnonymousUser) -> Self:
        """The imports the user may see: all for HR and auditors, none for anybody else."""
        return self if isinstance(user, User) and user.is_active and user.office else self.none()


class AppliedImport(models.Model):
    """Roster files that were imported together: who, when, and whether all of it was taken back."""

    applied_by = models.ForeignKey(User, models.PROTECT, related_name="+", verbose_name=_("imported by"))
    applied_at = models.DateTimeField(_("imported at"), auto_now_add=True)
    files = models.JSONField(_("files"), default=list, help_text=_("Name, new and changed rows of each."))
    undone_by = models.ForeignKey(
        User, models.PROTECT, null=True, blank=True, related_name="+", verbose_name=_("taken back by")
    )
    undone_at = models.DateTimeField(_("taken back at"), null=True, blank=True)

    objects = AppliedImportQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name = _("import")
        verbose_name_plural = _("imports")
        constraints = [
            models.CheckConstraint(
                name="import_taken_back_by_somebody",
                condition=Q(undone_by__isnull=True, undone_at__isnull=True)
                | Q(undone_by__isnull=False, undone_at__isnull=False),
            ),
            AppendOnly(
                name="applied_import_stays", mutable=["undone_by_id", "undone_at"], allow="OLD.undone_at IS NULL"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.applied_by} {self.applied_at:%Y-%m-%d %H:%M}"


class AppliedRow(models.Model):
    """A row that an import wrote: `before` has the cells that it changed, `after` the whole row as it left it."""

    applied_import = models.ForeignKey(AppliedImport, models.PROTECT, related_name="rows", verbose_name=_("import"))
    roster_file = models.CharField(_("file"), max_length=40)
    number = models.PositiveIntegerField(_("row"))
    record_key = models.BigIntegerField(_("key of the record"))
    is_new = models.BooleanField(_("new"))
    before = models.JSONField(_("before"), default=dict)
    after = models.JSONField(_("after"), default=dict)

    class Meta:
        ordering = ["id"]
        verbose_name = _("imported row")
        verbose_name_plural = _("imported rows")
        constraints = [AppendOnly(name="applied_row_stays")]

    def __str__(self) -> str:
        return f"{self.roster_file} {self.number}"
