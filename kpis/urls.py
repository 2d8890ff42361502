from django.urls import path

from kpis import member_views, views
from kpis.duplicate_views import duplicates, merge_cards, undo_merge

urlpatterns = [
    path("duplicates/", duplicates, name="duplicates"),
    path("duplicates/<int:survivor>/<int:card>/", merge_cards, name="merge_cards"),
    path("duplicates/<int:batch>/undo/", undo_merge, name="undo_merge"),
    path("members/", member_views.members, name="members"),
    path("members/<path:member_no>/lock/", member_views.member_lock, name="member_lock"),
    path("members/<path:member_no>/", member_views.member, name="member"),
    # Files before pages: a number may hold a slash.
    path(
        "portfolios/clerks/<path:clerk_no>/file.<slug:format>",
        member_views.clerk_portfolio_file,
        name="clerk_portfolio_file",
    ),
    path("portfolios/clerks/<path:clerk_no>/", member_views.clerk_portfolio, name="clerk_portfolio"),
    path(
        "portfolios/stores/<path:store_no>/file.<slug:format>",
        member_views.store_portfolio_file,
        name="store_portfolio_file",
    ),
    path("portfolios/stores/<path:store_no>/", member_views.store_portfolio, name="store_portfolio"),
    path("stores/", views.stores, name="stores"),
    path("stores/<month:month>/<path:store_no>/", views.store, name="store"),
]
