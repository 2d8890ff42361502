"""Settles a return whose original is not known, so that its month can be closed."""

import datetime as dt
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils.translation import gettext as _

from commission.settlement import SettlementError, settle_return


class Command(BaseCommand):
    help = "Settles the waiting returns of one ticket: they are wholly the house's."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("store_no", metavar="STORE")
        parser.add_argument("business_date", metavar="DATE", type=dt.date.fromisoformat, help="YYYY-MM-DD")
        parser.add_argument("ticket_no", metavar="TICKET")
        parser.add_argument("--reason", required=True, help="why; it is kept with the booking")
        parser.add_argument("--dry-run", action="store_true", help="say what would be settled, and change nothing")

    def handle(
        self,
        *args: Any,
        store_no: str,
        business_date: dt.date,
        ticket_no: str,
        reason: str,
        dry_run: bool,
        **options: Any,
    ) -> None:
        try:
            with transaction.atomic():
                count = settle_return(
                    store_no=store_no, business_date=business_date, ticket_no=ticket_no, reason=reason
                )
                transaction.set_rollback(dry_run)
        except SettlementError as error:
            raise CommandError(str(error)) from error
        done = _("would settle") if dry_run else _("settled")
        self.stdout.write(
            _("%(ticket)s: %(done)s %(count)d return lines.") % {"ticket": ticket_no, "done": done, "count": count}
        )
