"""Every address of the product. A route that no permission test lists fails the build."""

from django.urls import URLPattern, URLResolver, include, path

from commission.api import open_to_tokens

urlpatterns: list[URLPattern | URLResolver] = [
    path("api/v1/", include((open_to_tokens(), "api"))),
    path("", include("portfolios.urls")),
    # A clerk's tickets before the clerk's month: a clerk number may hold a slash.
    path("", include("commission.urls")),
    path("", include("kpis.urls")),
    path("", include("payroll_exports.urls")),
]

handler500 = "portfolios.views.fault"
