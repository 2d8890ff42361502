"""Every address of the product. A route that no permission test lists fails the build."""

from django.urls import URLPattern, URLResolver

urlpatterns: list[URLPattern | URLResolver] = []
