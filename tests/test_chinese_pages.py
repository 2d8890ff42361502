"""Pages in Chinese, as the cast sees them: a full-width stop brings its own room, and no blank follows it."""

import re
from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker, Settings

from tests.cast import Cast, one_cast
from tests.test_permissions import addresses

pytestmark = pytest.mark.django_db

# Elements that stand in a line of text; any other begins and ends one.
_IN_TEXT = re.compile(r"</?(?:a|b|em|span|strong)(?: [^>]*)?>")
# A figure stands apart from the sentence before it.
_FIGURE = re.compile(r'<span class="[^"]*\bnum\b[^"]*">')
_ROOM = re.compile(r".{0,20}[。，；：！？]\s+[^\s·].{0,20}")


@pytest.fixture(scope="module")
def cast(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Cast]:
    yield from one_cast(django_db_blocker)


def lines(page: str) -> Iterator[str]:
    page = re.sub(r"<(script|style)\b.*?</\1>", "\n", page, flags=re.DOTALL)
    page = _IN_TEXT.sub("", _FIGURE.sub("<td>", re.sub(r"\s+", " ", page)))
    yield from re.split(r"<[^>]*>", page)


def test_no_blank_follows_a_stop(cast: Cast, settings: Settings) -> None:
    settings.MAIL_PAYSLIPS = True
    pages = [(route, url) for route, url in addresses(cast).items() if route.method == "get"]
    seen, found = 0, set()
    for person in ("clerk", "manager", "hr"):
        client = cast.client(person)
        for route, url in pages:
            if route.answers[cast.PEOPLE.index(person)] != 200:
                continue
            response = client.get(url, headers={"accept-language": "zh-hans"})
            if response.headers["Content-Type"].startswith("text/html"):
                seen += 1
                found |= {(route.name, room) for line in lines(response.text) for room in _ROOM.findall(line)}
    assert seen > 150
    assert found == set()
