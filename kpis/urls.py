from django.urls import path

from kpis import views

urlpatterns = [
    path("stores/", views.stores, name="stores"),
    path("stores/<month:month>/<path:store_no>/", views.store, name="store"),
]
