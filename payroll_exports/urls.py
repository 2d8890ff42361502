from django.urls import path

from payroll_exports import views

urlpatterns = [
    path("my-month/", views.my_month, name="my_month"),
    path("clerks/<month:month>/<path:clerk_no>/", views.clerk_month, name="clerk_month"),
    path("payslips/", views.payslips, name="payslips"),
    path("payslips/language/", views.payslip_language, name="payslip_language"),
    path("payslips/<month:month>/<path:clerk_no>.pdf", views.payslip_pdf, name="payslip_pdf"),
    path("months/", views.months, name="months"),
    path("months/<month:month>/", views.month, name="month"),
    path("months/<month:month>/close/ask/", views.ask_to_close, name="ask_to_close"),
    path("months/<month:month>/close/approve/", views.approve_and_close, name="approve_and_close"),
    path("months/<month:month>/payslips/make/", views.make_payslips, name="make_payslips"),
    path("months/<month:month>/job/", views.month_job, name="month_job"),
    path("months/<month:month>/exports/<slug:name>.<slug:format>", views.export, name="export"),
]
