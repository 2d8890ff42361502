# The product in one image: the web server, the Celery worker and the commands. compose.yaml shows how they fit.
FROM python:3.12-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
COPY requirements.txt /srv/one-to-one/
RUN /opt/venv/bin/python -m pip install --only-binary :all: --require-hashes -r /srv/one-to-one/requirements.txt
COPY . /srv/one-to-one/
WORKDIR /srv/one-to-one
RUN /opt/venv/bin/python bin/compile-messages \
    && /opt/venv/bin/python -m compileall -q commission config kpis payroll_exports portfolios

FROM python:3.12-slim-bookworm
RUN apt-get update \
    && apt-get install -y --no-install-recommends libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /srv/one-to-one --shell /usr/sbin/nologin one-to-one
COPY --from=build /opt/venv /opt/venv
COPY --from=build /srv/one-to-one /srv/one-to-one
WORKDIR /srv/one-to-one
# The code belongs to root; var/, a volume, is the only place that the product writes to.
RUN mkdir var && chown 10001:10001 var
VOLUME /srv/one-to-one/var
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 COLLECTED_STATIC=1
USER 10001
EXPOSE 8000
# It asks under a name that ALLOWED_HOSTS has, and as if through TLS: with HTTPS=1 plain requests are only redirected.
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(r.Request('http://127.0.0.1:8000/login/', headers={'Host': os.environ.get('ALLOWED_HOSTS', 'localhost').split(',')[0], 'X-Forwarded-Proto': 'https'}), timeout=4)"]
CMD ["gunicorn", "config.wsgi", "--bind", "0.0.0.0:8000", "--workers", "3", "--threads", "4", "--timeout", "120", "--worker-tmp-dir", "/dev/shm", "--access-logfile", "-"]
