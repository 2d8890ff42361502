"""manage.py phone_right NAME [--revoke]: lets a person of HR see members' phone numbers whole."""

from argparse import ArgumentParser
from typing import Any

from auditlog.models import LogEntry
from django.contrib.auth.models import Permission
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils.translation import gettext as _

from portfolios.models import User
from portfolios.phones import SEE_PHONES


class Command(BaseCommand):
    help = "Gives a person of HR the right to members' whole phone numbers, or takes it back. It stays on record."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", metavar="NAME")
        parser.add_argument("--revoke", action="store_true", help="take the right back")

    @transaction.atomic
    def handle(self, *args: Any, username: str, revoke: bool, **options: Any) -> None:
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(_("There is no login %(name)s: see add_user.") % {"name": username})
        if not (user.is_hr or revoke):
            raise CommandError(
                _("%(name)s is not of HR, and only HR takes members' data out: nothing was given.") % {"name": username}
            )
        app, codename = SEE_PHONES.split(".")
        right = Permission.objects.get(content_type__app_label=app, codename=codename)
        has_it = user.user_permissions.filter(pk=right.pk).exists()
        if has_it == revoke:
            (user.user_permissions.remove if revoke else user.user_permissions.add)(right)
            LogEntry.objects.log_create(
                user,
                force_log=True,
                action=LogEntry.Action.UPDATE,
                additional_data={"right": SEE_PHONES, "given": not revoke},
            )
        if revoke:
            self.stdout.write(_("%(name)s sees phone numbers masked.") % {"name": username})
        else:
            self.stdout.write(_("%(name)s sees whole phone numbers.") % {"name": username})
