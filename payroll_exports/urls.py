from django.urls import path

from payroll_exports import checklist_views, inquiry_views, movement_views, roster_views, views

urlpatterns = [
    path("my-month/", views.my_month, name="my_month"),
    path("clerks/<month:month>/<path:clerk_no>/question/", inquiry_views.question_line, name="question_line"),
    path("clerks/<month:month>/<path:clerk_no>/lines/<slug:code>/", views.line_tickets, name="line_tickets"),
    path("clerks/<month:month>/<path:clerk_no>/", views.clerk_month, name="clerk_month"),
    path("movement/<month:month>/<slug:kind>/pdf/<path:number>", movement_views.movement_pdf, name="movement_pdf"),
    path("payslips/", views.payslips, name="payslips"),
    path("payslips/language/", views.payslip_language, name="payslip_language"),
    path("payslips/<month:month>/<path:clerk_no>.pdf", views.payslip_pdf, name="payslip_pdf"),
    path("roster/", roster_views.roster, name="roster"),
    path("roster/files/<slug:name>.<slug:format>", roster_views.roster_export, name="roster_export"),
    path("roster/uploads/", roster_views.roster_import, name="roster_import"),
    path("roster/uploads/<int:pk>/", roster_views.roster_preview, name="roster_preview"),
    path("roster/uploads/<int:pk>/errors.csv", roster_views.roster_errors, name="roster_errors"),
    path("roster/uploads/<int:pk>/apply/", roster_views.roster_apply, name="roster_apply"),
    path("roster/uploads/<int:pk>/discard/", roster_views.roster_discard, name="roster_discard"),
    path("months/", views.months, name="months"),
    path("months/<month:month>/", views.month, name="month"),
    path("months/<month:month>/unattributed/", checklist_views.unattributed_tickets, name="unattributed_tickets"),
    path("months/<month:month>/unassigned/", checklist_views.month_unassigned, name="month_unassigned"),
    path("months/<month:month>/close/ask/", views.ask_to_close, name="ask_to_close"),
    path("months/<month:month>/close/approve/", views.approve_and_close, name="approve_and_close"),
    path("months/<month:month>/payslips/make/", views.make_payslips, name="make_payslips"),
    path("months/<month:month>/job/", views.month_job, name="month_job"),
    path("months/<month:month>/exports/<slug:name>.<slug:format>", views.export, name="export"),
]
