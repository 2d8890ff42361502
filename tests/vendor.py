"""A vendor's software that sends whole tickets to the API: `Vendor().post(ticket("T1", "01-05", line("200.00")))`."""

import json
import time
from typing import Any

from django.test import Client
from django.utils import timezone

from commission.models import ApiToken
from portfolios.models import Store
from tests.builders import Row, day

OF_TICKET = ("store_no", "business_date", "ticket_no", "sold_at", "member_no")


def whole(rows: list[Row]) -> dict[str, Any]:
    """A ticket of tests/builders.py, its lines nested, nothing sent for what is empty."""

    def cell(name: str, text: str) -> str | int:
        return int(text) if name in ("line_no", "original_line_no") else text

    lines = [{name: cell(name, text) for name, text in row.items() if text and name not in OF_TICKET} for row in rows]
    return {**{name: rows[0][name] for name in OF_TICKET if rows[0][name]}, "lines": lines}


class Vendor:
    """Holds a token, for one store or for the chain."""

    def __init__(self, store_no: str = "", *, until: str = "2099-01-01", language: str = "en") -> None:
        store = Store.objects.get(store_no=store_no) if store_no else None
        self.token, self.text = ApiToken.objects.issue(
            name="Till & Co", store=store, created_by="test", expires_on=day(until)
        )
        # Noted as used already: what a request changes is then what it books.
        ApiToken.objects.filter(pk=self.token.pk).update(last_used_at=timezone.now())
        self.headers = {"Authorization": f"Bearer {self.text}", "Accept-Language": language}

    def post(self, *tickets: list[Row]) -> Any:
        return self.send({"tickets": [whole(rows) for rows in tickets]})

    def post_until_heard(self, *tickets: list[Row]) -> Any:
        """As a till does: whatever was busy is sent again."""
        while (answer := self.post(*tickets)).status_code == 503:
            time.sleep(0.1)
        return answer

    def send(self, body: Any) -> Any:
        return self.send_text(json.dumps(body))

    def send_text(self, body: str | bytes) -> Any:
        return Client(headers=self.headers).post("/api/v1/tickets", body, content_type="application/json")

    def get(self, path: str) -> Any:
        return Client(headers=self.headers).get(f"/api/v1/{path}")
