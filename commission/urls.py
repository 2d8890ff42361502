from django.urls import path

from commission import views

urlpatterns = [
    path("tickets/", views.my_tickets, name="my_tickets"),
    path("tickets/<int:pk>/", views.ticket, name="ticket"),
    path("clerks/<month:month>/<path:clerk_no>/tickets/", views.clerk_tickets, name="clerk_tickets"),
]
