FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOST=0.0.0.0 \
    PORT=8000 \
    DATABASE_URL=sqlite:////data/db.sqlite3 \
    AUDIT_SPOOL_DIR=/data/audit

WORKDIR /app
RUN useradd --system --create-home perfguard
RUN install --directory --owner=perfguard /data

COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt

COPY manage.py ./
COPY perfguard perfguard
COPY project project
# The key of this step signs nothing and is not kept; the real one is given at run time.
RUN SECRET_KEY=not-used-at-run-time python manage.py collectstatic --noinput

USER perfguard
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s \
    CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/livez', timeout=3)"]
CMD ["gunicorn", "--config", "project/gunicorn.conf.py"]
