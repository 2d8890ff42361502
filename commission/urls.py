from django.urls import path

from commission import correction_views, inquiry_views, plan_views, return_views, views, what_if_views

urlpatterns = [
    path("corrections/", correction_views.corrections, name="corrections"),
    path("corrections/<int:pk>/decide/", correction_views.decide_correction, name="decide_correction"),
    path("inquiries/", inquiry_views.inquiries, name="inquiries"),
    path("inquiries/<int:pk>/", inquiry_views.inquiry, name="inquiry"),
    path("inquiries/<int:pk>/comment/", inquiry_views.comment_on_inquiry, name="comment_on_inquiry"),
    path("inquiries/<int:pk>/answer/", inquiry_views.answer_inquiry, name="answer_inquiry"),
    path("inquiries/<int:pk>/withdraw/", inquiry_views.withdraw_inquiry, name="withdraw_inquiry"),
    path("bindings/<int:pk>/question/", inquiry_views.question_binding, name="question_binding"),
    path("plans/", plan_views.plans, name="plans"),
    path("plans/new/", plan_views.new_plan, name="new_plan"),
    path("plans/<int:pk>/", plan_views.plan, name="plan"),
    path("plans/<int:pk>/edit/", plan_views.edit_plan, name="edit_plan"),
    path("plans/<int:pk>/end/", plan_views.end_plan_on, name="end_plan"),
    path("plans/<int:pk>/withdraw/", plan_views.withdraw_plan, name="withdraw_plan"),
    path("plans/<int:pk>/discard/", plan_views.discard_plan, name="discard_plan"),
    path("returns/", return_views.waiting_returns, name="waiting_returns"),
    path("returns/<int:pk>/settle/", return_views.settle_waiting_return, name="settle_waiting_return"),
    path("tickets/", views.my_tickets, name="my_tickets"),
    path("tickets/find/", correction_views.find_ticket, name="find_ticket"),
    path("tickets/<int:pk>/", views.ticket, name="ticket"),
    path("tickets/<int:pk>/question/", inquiry_views.question_ticket, name="question_ticket"),
    path("tickets/<int:pk>/correct/", correction_views.correct_ticket, name="correct_ticket"),
    path("clerks/<month:month>/<path:clerk_no>/tickets/", views.clerk_tickets, name="clerk_tickets"),
    path("what-if/", what_if_views.ask_what_if, name="what_if"),
    path("what-if/what-if.csv", what_if_views.what_if_file, name="what_if_file"),
]
