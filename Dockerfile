FROM python:3.13-slim

RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/configtrail configtrail

WORKDIR /opt/configtrail
COPY pyproject.toml constraints.txt README.md ./
COPY domain domain
COPY projections projections
COPY adapters adapters
RUN pip install --no-cache-dir --disable-pip-version-check -c constraints.txt .

USER configtrail
WORKDIR /var/lib/configtrail
ENV PYTHONUNBUFFERED=1 \
    CONFIGTRAIL_DATA_DIR=/var/lib/configtrail/data
EXPOSE 8480
HEALTHCHECK --interval=5s --timeout=4s --start-period=60s --retries=6 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8480/healthz', timeout=3)"]
ENTRYPOINT ["configtrail"]
CMD ["up"]
