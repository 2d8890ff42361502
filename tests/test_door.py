"""The door: login and lockout, language, password. And what the pages say in a house that is still empty."""

import re

import pytest
from django.test import Client

from portfolios.models import Clerk, User

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"


def text(response: object) -> str:
    """What a person reads on a page: without tags, white space as one blank."""
    content = response.content.decode()  # type: ignore[attr-defined]
    return " ".join(re.sub(r"<[^>]+>", " ", content).split())


def log_in(client: Client, password: str) -> object:
    return client.post("/login/", {"username": "li", "password": password})


def test_log_in_and_out() -> None:
    User.objects.create_user("li", password=PASSWORD)
    client = Client()
    assert log_in(client, PASSWORD)["Location"] == "/"  # type: ignore[index]
    assert client.post("/logout/")["Location"] == "/login/"
    assert client.get("/")["Location"] == "/login/?next=/"


@pytest.mark.parametrize(("language", "words"), [("en", "Wait 15 minutes"), ("zh-hans", "请等待15分钟")])
def test_the_fifth_wrong_password_locks_the_login(language: str, words: str) -> None:
    User.objects.create_user("li", password=PASSWORD)
    client = Client(headers={"accept-language": language})
    assert [log_in(client, f"wrong {n}").status_code for n in range(4)] == [200] * 4  # type: ignore[attr-defined]
    fifth = log_in(client, "wrong")
    assert fifth.status_code == 429  # type: ignore[attr-defined]
    assert words in text(fifth)
    # The right one comes too late.
    assert log_in(client, PASSWORD).status_code == 429  # type: ignore[attr-defined]


def test_the_language_is_switched_before_login_and_stays_after_it() -> None:
    User.objects.create_user("li", password=PASSWORD)
    client = Client(headers={"accept-language": "en"})
    assert "Log in" in text(client.get("/login/"))
    switched = client.post("/language/", {"language": "zh-hans", "next": "/login/"}, follow=True)
    assert '<html lang="zh-Hans">' in switched.content.decode()
    assert "登录" in text(switched)
    log_in(client, PASSWORD)
    assert '<html lang="zh-Hans">' in client.get("/").content.decode()


def test_a_language_switch_leads_nowhere_else() -> None:
    response = Client().post("/language/", {"language": "en", "next": "https://elsewhere.example/"})
    assert response["Location"] == "/"


def test_change_the_password() -> None:
    User.objects.create_user("li", password=PASSWORD)
    client = Client(headers={"accept-language": "en"})
    log_in(client, PASSWORD)
    form = {"old_password": PASSWORD, "new_password1": "short", "new_password2": "short"}
    assert "at least 10 characters" in text(client.post("/password/", form))
    form |= {"new_password1": "another battery staple", "new_password2": "another battery staple"}
    assert "Your password is changed." in text(client.post("/password/", form, follow=True))
    assert User.objects.get().check_password("another battery staple")


def test_before_the_first_ticket_every_page_says_what_will_be_there() -> None:
    first_pages = {
        "clerk": ("/my-month/", "It begins with the first ticket that is imported."),
        "hr": ("/months/", "The first month begins with the earliest ticket"),
    }
    clerk = Clerk.objects.create(clerk_no="C1", name="李娜", hired_on="2026-01-01")
    User.objects.create(username="clerk", clerk=clerk)
    User.objects.create(username="hr", office=User.Office.HR)
    for name, (url, words) in first_pages.items():
        client = Client(headers={"accept-language": "en"})
        client.force_login(User.objects.get(username=name), backend="portfolios.access.StaffBackend")
        assert words in text(client.get(url))
        for other in ("/tickets/", "/payslips/") if name == "clerk" else ("/stores/", "/payslips/"):
            assert client.get(other).status_code == 200
