"""Makes, lists and revokes the tokens by which tills' software uses the API."""

import datetime as dt
import getpass
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from django.utils.translation import gettext as _

from commission.models import ApiToken
from commission.ticket_lines import read_date
from portfolios.models import Store

_DAYS = 365


class Command(BaseCommand):
    help = "Makes, lists and revokes the tokens of the API for tills. A token is shown once, when it is made."

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_subparsers(dest="what", required=True)
        add = what.add_parser("add", help="make a token and show it, this once")
        add.add_argument("name", metavar="NAME", help="whose it is: the vendor, the till")
        scope = add.add_mutually_exclusive_group(required=True)
        scope.add_argument("--store", metavar="STORE", help="the one store that it is for")
        scope.add_argument("--chain", action="store_true", help="for every store")
        add.add_argument(
            "--until", metavar="DATE", help=f"the first day on which it no longer counts (in {_DAYS} days by default)"
        )
        what.add_parser("list", help="every token, with its last use")
        revoke = what.add_parser("revoke", help="end a token now, for good")
        revoke.add_argument("mark", metavar="MARK", help="the first half of the token, as in the list")

    def handle(self, *args: Any, what: str, **options: Any) -> None:
        getattr(self, f"_{what}")(**options)

    def _add(self, *, name: str, store: str | None, until: str | None, **options: Any) -> None:
        found = Store.objects.filter(store_no=store).first() if store else None
        if store and found is None:
            raise CommandError(_("There is no store %(store)s: import stores.csv first.") % {"store": store})
        today = timezone.localdate()
        expires_on = read_date(until) if until else today + dt.timedelta(days=_DAYS)
        if expires_on is None or expires_on <= today:
            raise CommandError(_("'%(text)s' is no day after today: write it as YYYY-MM-DD.") % {"text": until})
        if not name.strip() or len(name) > 100:
            raise CommandError(_("A token has a name of at most 100 characters."))
        token, text = ApiToken.objects.issue(
            name=name.strip(), store=found, created_by=getpass.getuser(), expires_on=expires_on
        )
        self.stdout.write(_sentence(token))
        self.stdout.write(_("It is shown this once; keep it like a password:"))
        self.stdout.write(text)

    def _list(self, **options: Any) -> None:
        tokens = ApiToken.objects.select_related("store")
        if not tokens:
            self.stdout.write(_("There is no token yet."))
        for token in tokens:
            self.stdout.write(_sentence(token))

    def _revoke(self, *, mark: str, **options: Any) -> None:
        token = ApiToken.objects.select_related("store").filter(mark=mark.partition(".")[0]).first()
        if token is None:
            raise CommandError(_("There is no token %(mark)s: 'api_token list' has them all.") % {"mark": mark})
        ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())
        token.refresh_from_db()
        self.stdout.write(_sentence(token))


def _sentence(token: ApiToken) -> str:
    """One line: mark, name, scope, by whom and when, and what became of it."""
    parts = [
        f"{token.mark}  {token.name}",
        _("store %(store)s") % {"store": token.store.store_no} if token.store else _("every store"),
        _("made by %(who)s on %(day)s") % {"who": token.created_by, "day": timezone.localdate(token.created_at)},
        _("counts until %(day)s") % {"day": token.expires_on - dt.timedelta(days=1)},
        _("last used on %(day)s") % {"day": timezone.localdate(token.last_used_at)}
        if token.last_used_at
        else _("never used"),
    ]
    if token.revoked_at:
        parts.append(_("revoked on %(day)s") % {"day": timezone.localdate(token.revoked_at)})
    elif token.expires_on <= timezone.localdate():
        parts.append(_("expired"))
    return "; ".join(parts)
