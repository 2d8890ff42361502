"""Logins are made on the command line, with a password that is typed and strong enough."""

import datetime as dt

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from portfolios.management.commands import add_user
from portfolios.models import Clerk, User

pytestmark = pytest.mark.django_db
STRONG = "rather-long-7-and-odd"


@pytest.fixture
def li():
    return Clerk.objects.create(clerk_no="C1", name="李娜", hired_on=dt.date(2026, 1, 1))


@pytest.fixture
def typed(monkeypatch):
    def types(password):
        monkeypatch.setattr(add_user, "getpass", lambda prompt: password)

    types(STRONG)
    return types


def test_a_clerk_and_hr_can_log_in(li, typed, client):
    call_command("add_user", "lina", "--clerk=C1")
    call_command("add_user", "anna", "--office=hr")
    lina = User.objects.get(username="lina")
    assert (lina.clerk, lina.office, lina.check_password(STRONG)) == (li, "", True)
    assert User.objects.get(username="anna").is_hr
    assert not lina.is_staff
    assert not lina.is_superuser


def test_a_weak_password_makes_no_login(li, typed):
    typed("1234567890")
    with pytest.raises(CommandError, match="entirely numeric"):
        call_command("add_user", "lina", "--clerk=C1")
    assert not User.objects.exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["lina", "--clerk=C9"], "no clerk C9"),
        (["wang", "--clerk=C1"], "has a login already"),
        (["lina", "--office=hr"], "login lina already"),
        (["a b", "--office=hr"], "valid username"),
    ],
)
def test_who_cannot_be_added_is_told_why(li, typed, words, reason):
    User.objects.create(username="wang2" if "C9" in words[1] else "lina", clerk=li)
    with pytest.raises(CommandError, match=reason):
        call_command("add_user", *words)


def test_it_takes_a_clerk_or_an_office(typed):
    with pytest.raises(CommandError, match="required"):
        call_command("add_user", "lina")
