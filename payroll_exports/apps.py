from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PayrollExportsConfig(AppConfig):
    name = "payroll_exports"
    verbose_name = _("Payroll exports")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from payroll_exports import checks  # noqa: F401 - registers them
