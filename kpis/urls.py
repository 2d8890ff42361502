from django.urls import path

from kpis import (
    analysis_views,
    change_views,
    measure_views,
    member_views,
    movement_views,
    score_views,
    scorecard_views,
    signal_views,
    views,
)
from kpis.care_views import complaint_close, complaints, member_care, today
from kpis.duplicate_views import duplicates, merge_cards, undo_merge
from kpis.upkeep_views import upkeep, upkeep_member

urlpatterns = [
    path("duplicates/", duplicates, name="duplicates"),
    path("duplicates/<int:survivor>/<int:card>/", merge_cards, name="merge_cards"),
    path("duplicates/<int:batch>/undo/", undo_merge, name="undo_merge"),
    path("members/", member_views.members, name="members"),
    path("members/<path:member_no>/care/", member_care, name="member_care"),
    path("complaints/", complaints, name="complaints"),
    path("complaints/<int:pk>/close/", complaint_close, name="complaint_close"),
    path("today/", today, name="today"),
    path("upkeep/", upkeep, name="upkeep"),
    path("upkeep/<path:member_no>/", upkeep_member, name="upkeep_member"),
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
    path("stores/<path:store_no>/changes/", change_views.changes, name="changes"),
    path("stores/<path:store_no>/changes/<slug:kind>/", change_views.propose, name="propose"),
    path("stores/<path:store_no>/unassigned/", change_views.unassigned, name="unassigned"),
    path("stores/<path:store_no>/leaving/", change_views.leaving, name="leaving"),
    path("changes/<int:pk>/", change_views.proposal, name="proposal"),
    path("changes/<int:pk>/apply/", change_views.apply, name="apply_proposal"),
    path("changes/<int:pk>/progress/", change_views.progress, name="proposal_progress"),
    path("changes/<int:pk>/undo/", change_views.undo, name="undo_proposal"),
    path("signals/<month:month>/", signal_views.signals, name="signals"),
    path(
        "signals/<month:month>/corrections/<path:clerk_no>/", signal_views.clerk_corrections, name="clerk_corrections"
    ),
    path(
        "signals/<month:month>/<slug:kind>/<path:clerk_no>/looked-at/",
        signal_views.look_at_signal,
        name="look_at_signal",
    ),
    path("signals/<month:month>/<slug:kind>/<path:clerk_no>/", signal_views.signal, name="signal"),
    # Files before lists, and these before pages: a number may hold a slash.
    path(
        "movement/<month:month>/<slug:kind>/members/<slug:figure>.<slug:format>/<path:number>",
        movement_views.movement_file,
        name="movement_file",
    ),
    path(
        "movement/<month:month>/<slug:kind>/members/<slug:figure>/<path:number>/",
        movement_views.movement_members,
        name="movement_members",
    ),
    path("movement/<month:month>/<slug:kind>/<path:number>/", movement_views.movement, name="movement"),
    path("measures/<month:month>/<slug:kind>/<path:number>/", measure_views.measures, name="measures"),
    path(
        "analysis/<month:month>/<slug:kind>/file.<slug:format>/<path:number>",
        analysis_views.analysis_file,
        name="analysis_file",
    ),
    path(
        "analysis/<month:month>/<slug:kind>/members/<slug:dimension>/<path:number>/",
        analysis_views.analysis_members,
        name="analysis_members",
    ),
    path("analysis/<month:month>/<slug:kind>/<path:number>/", analysis_views.analysis, name="analysis"),
    path("scorecards/", scorecard_views.scorecards, name="scorecards"),
    path("scorecards/new/", scorecard_views.new_scorecard, name="new_scorecard"),
    path("scorecards/<int:pk>/", scorecard_views.scorecard, name="scorecard"),
    path("scorecards/<int:pk>/edit/", scorecard_views.edit_scorecard, name="edit_scorecard"),
    path("scorecards/<int:pk>/issue/", scorecard_views.issue_scorecard, name="issue_scorecard"),
    path("scorecards/<int:pk>/withdraw/", scorecard_views.withdraw_scorecard, name="withdraw_scorecard"),
    path("scorecards/<int:pk>/discard/", scorecard_views.discard_scorecard, name="discard_scorecard"),
    path("scorecards/<int:pk>/end/", scorecard_views.end_scorecard, name="end_scorecard"),
    path("scorecards/<int:pk>/preview/<month:month>/", scorecard_views.preview_scorecard, name="preview_scorecard"),
    path("scores/<month:month>/stores/<path:store_no>/", score_views.store_scores, name="store_scores"),
    path("scores/<month:month>/clerks/<path:clerk_no>/", score_views.score, name="score"),
    path("kpis/definitions/", measure_views.definitions, name="definitions"),
    path("stores/<month:month>/<path:store_no>/", views.store, name="store"),
]
