"""Settings, read from the environment (or a `.env` file); `.env.example` lists every one of them."""

from pathlib import Path

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = BASE_DIR / "var"

env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")

DEBUG = env.bool("DEBUG", default=False)
# The key itself, or the file that holds it (a Docker secret, or the one that bin/setup makes for this checkout).
SECRET_KEY_FILE = Path(env.str("SECRET_KEY_FILE", default=str(VAR_DIR / "secret.key")))
SECRET_KEY = env.str("SECRET_KEY", default="")
if not SECRET_KEY and SECRET_KEY_FILE.is_file():
    SECRET_KEY = SECRET_KEY_FILE.read_text().strip()
if not SECRET_KEY:
    raise ImproperlyConfigured(
        "SECRET_KEY is not set, and nothing is signed safely without one. Put a long random SECRET_KEY into the "
        "environment or into .env (python3 -c 'import secrets; print(secrets.token_urlsafe(50))'), or name a file "
        "that holds it in SECRET_KEY_FILE. bin/setup makes one for this checkout in var/secret.key."
    )
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "portfolios",
    "commission",
    "kpis",
    "payroll_exports",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "bootstrap",
    "django_filters",
    "django_htmx",
    "django_tables2",
    "import_export",
    "ninja",
    "auditlog",
    "axes",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "auditlog.middleware.AuditlogMiddleware",
    "axes.middleware.AxesMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.template.context_processors.i18n",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{VAR_DIR / 'db.sqlite3'}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A writer takes its lock at the start of a transaction and others wait for it: the deferred default
    # gives "database is locked" as soon as two processes write.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": (
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA recursive_triggers=ON; "
            "PRAGMA cache_size=-65536;"
        ),
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "portfolios.User"
# Who changed a login, a clerk's record, or a plan's days, shares and state, and when. What pays has its own history in
# rows that are never edited.
AUDITLOG_INCLUDE_TRACKING_MODELS = (
    {"model": "portfolios.User", "exclude_fields": ["password", "last_login"]},
    "commission.Plan",
    "kpis.Scorecard",
    "kpis.ScorecardMeasure",
    "portfolios.Clerk",
    "kpis.SignalReview",
    # Which address it is, is the clerk's own business.
    {"model": "payroll_exports.PayslipAddress", "exclude_fields": ["email"]},
)
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "portfolios.access.StaffBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"

# Lockout: five wrong passwords for one name from one address wait a quarter of an hour.
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = 0.25
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_TEMPLATE = "registration/locked_out.html"
AXES_RESET_ON_SUCCESS = True

# What commands speak, and pages where the browser asks for neither language: by default that of the terminal.
LANGUAGE_CODE = env.str("LANGUAGE_CODE", default="zh-hans" if env.str("LANG", default="").startswith("zh") else "en")
LANGUAGES = [("zh-hans", _("Simplified Chinese")), ("en", _("English"))]
# The choice of language outlives the visit.
LANGUAGE_COOKIE_AGE = 60 * 60 * 24 * 365
LANGUAGE_COOKIE_SAMESITE = "Lax"
LOCALE_PATHS = [BASE_DIR / "locale"]
USE_I18N = True
TIME_ZONE = env.str("TIME_ZONE", default="Asia/Shanghai")
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if env.bool("COLLECTED_STATIC", default=False)
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
# Without `collectstatic` (the demo, development) the files are served from where the packages keep them.
WHITENOISE_USE_FINDERS = not env.bool("COLLECTED_STATIC", default=False)

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    },
}
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 60 * 60 * 12
# Behind TLS (the normal case for a chain) set HTTPS=1: cookies, redirects and HSTS follow.
HTTPS = env.bool("HTTPS", default=False)
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None

DJANGO_TABLES2_TEMPLATE = "tables/table.html"

# How far long work is, for the page that waits for it: kept where every process of the site can read it.
CACHES = {"default": env.cache_url("CACHE_URL", default=f"filecache://{VAR_DIR / 'cache'}")}

# Without a broker, long work runs in the process that starts it.
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="")
# A job that a lost worker had begun is given to another: jobs never do a thing twice.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True

# Payslips mailed to their clerks, each locked with a password: off, and nothing of it shows, unless it is switched on.
MAIL_PAYSLIPS = env.bool("MAIL_PAYSLIPS", default=False)
EMAIL_URL = env.str("EMAIL_URL", default="")
vars().update(env.email_url_config(EMAIL_URL or "smtp://localhost:25"))
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="")
# A server that does not answer must not hold up the job.
EMAIL_TIMEOUT = 30
if MAIL_PAYSLIPS and not (EMAIL_URL and DEFAULT_FROM_EMAIL):
    raise ImproperlyConfigured(
        "MAIL_PAYSLIPS is on: name the mail server in EMAIL_URL and the sender in DEFAULT_FROM_EMAIL."
    )

# W040: SQLite has no covering indexes; it makes the same index without the extra columns.
SILENCED_SYSTEM_CHECKS = ["models.W040"]

# --- The chain's own settings -----------------------------------------------------------------------------------
# The day of the month on which an accounting month begins (1 to 28); fixed before the first close.
CUT_OFF_DAY = env.int("CUT_OFF_DAY", default=1)
# Days without a purchase after which a member has lapsed.
ACTIVITY_WINDOW_DAYS = env.int("ACTIVITY_WINDOW_DAYS", default=90)
# What a new member has to buy in one ticket, in minor units, and within how many days, to be effective.
EFFECTIVE_PURCHASE_AMOUNT = env.int("EFFECTIVE_PURCHASE_AMOUNT", default=3_800)
EFFECTIVE_DAYS = env.int("EFFECTIVE_DAYS", default=30)
# What part of variable pay is to come from own members, in percent.
MEMBER_PAY_GOAL_PERCENT = env.int("MEMBER_PAY_GOAL_PERCENT", default=70)
# Of fewer members or tickets a measure is marked as a small sample, and not ranked.
MEASURE_SMALL_SAMPLE = env.int("MEASURE_SMALL_SAMPLE", default=20)
# Whether members are ranked into tiers "chain" wide or per "store".
TIER_SCOPE = env.str("TIER_SCOPE", default="chain")
# Members of one clerk from which a split warns.
MEMBERS_PER_CLERK_LIMIT = env.int("MEMBERS_PER_CLERK_LIMIT", default=500)
# Days after a talk with an A or a B member when the next one is due.
CARE_A_DAYS = env.int("CARE_A_DAYS", default=30)
CARE_B_DAYS = env.int("CARE_B_DAYS", default=60)
# Days after which a member is asked again whether phone and neighbourhood are right.
PROFILE_STALE_DAYS = env.int("PROFILE_STALE_DAYS", default=180)
# From when a figure is a signal: so many hits, and (where there is a rate) so many percent of the rest of the store's
# rate; of fewer things it is marked as a small sample.
SIGNAL_AT_LEAST = env.int("SIGNAL_AT_LEAST", default=3)
SIGNAL_RATE_PERCENT = env.int("SIGNAL_RATE_PERCENT", default=200)
SIGNAL_SMALL_SAMPLE = env.int("SIGNAL_SMALL_SAMPLE", default=20)
# What counts as a large purchase, in minor units; after how many days a new member should have bought again; how many
# days of a month are right after the one before.
SIGNAL_LARGE_AMOUNT = env.int("SIGNAL_LARGE_AMOUNT", default=30_000)
SIGNAL_QUIET_DAYS = env.int("SIGNAL_QUIET_DAYS", default=60)
SIGNAL_RETURN_DAYS = env.int("SIGNAL_RETURN_DAYS", default=7)
# Amounts are integers in the currency's minor unit.
CURRENCY = env.str("CURRENCY", default="CNY")
