"""The door (home by role, login, password, language), enrolment, and how a month is written in an address: 2026-10."""

from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path, register_converter
from django.views.i18n import set_language

from portfolios import views
from portfolios.months import MonthError, parse_month


class MonthConverter:
    regex = "[0-9]{4}-[0-9]{2}"

    def to_python(self, value: str) -> int:
        try:
            return parse_month(value)
        except MonthError:
            # No month, no such address.
            raise ValueError(value) from None

    def to_url(self, value: Any) -> str:
        """From a Month's number."""
        return f"{value // 100:04d}-{value % 100:02d}"


register_converter(MonthConverter, "month")

urlpatterns = [
    path("", views.home, name="home"),
    path("login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("password/", views.ChangePassword.as_view(), name="password_change"),
    path("language/", login_not_required(set_language), name="set_language"),
    path("enrol/", views.enrol, name="enrol"),
    path("enrol/<path:member_no>/", views.enrolled, name="enrolled"),
]
