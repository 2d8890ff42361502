"""Settings, addresses and the entry points of the web server and of Celery's workers."""

from config.celery import app as celery_app

__all__ = ["celery_app"]
