"""Makes a login for a clerk, a manager, HR or an auditor."""

from argparse import ArgumentParser
from getpass import getpass
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.utils.translation import gettext as _

from portfolios.models import Clerk, User


class Command(BaseCommand):
    help = "Makes a login. A clerk with a manager posting is a manager; HR and auditors stand for no clerk."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", metavar="NAME")
        whose = parser.add_mutually_exclusive_group(required=True)
        whose.add_argument("--clerk", metavar="CLERK_NO", help="the clerk that the login is for")
        whose.add_argument("--office", choices=User.Office.values, help="hr, or an auditor who only reads")

    def handle(self, *args: Any, username: str, clerk: str | None, office: str | None, **options: Any) -> None:
        if User.objects.filter(username=username).exists():
            raise CommandError(_("There is a login %(name)s already: choose another name.") % {"name": username})
        person = Clerk.objects.filter(clerk_no=clerk).first() if clerk else None
        if clerk and person is None:
            raise CommandError(_("There is no clerk %(clerk)s: import clerks.csv first.") % {"clerk": clerk})
        if person and User.objects.filter(clerk=person).exists():
            raise CommandError(_("Clerk %(clerk)s has a login already.") % {"clerk": person})
        user = User(username=username, clerk=person, office=office or "")
        password = getpass(_("Password: "))
        try:
            user.full_clean(exclude=["password"])
            validate_password(password, user)
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        user.set_password(password)
        user.save()
        self.stdout.write(_("%(name)s can log in now.") % {"name": username})
