#!/bin/sh
# Run once, by the image, on an empty volume: the service's own user and database. The user is no
# superuser, so that row-level security binds it.
set -eu
psql --username "${POSTGRES_USER:-postgres}" --dbname postgres --quiet --no-psqlrc \
  --set ON_ERROR_STOP=1 <<'SQL'
\getenv password CONFIGTRAIL_POSTGRES_PASSWORD
CREATE ROLE configtrail LOGIN CREATEDB PASSWORD :'password';
CREATE DATABASE configtrail OWNER configtrail;
-- As whom a tenant's rows are read: it owns nothing, and nobody logs in as it.
CREATE ROLE configtrail_reader NOLOGIN;
GRANT configtrail_reader TO configtrail;
-- As whom projections add many rows at once: it may insert, and can't read.
CREATE ROLE configtrail_copier NOLOGIN BYPASSRLS;
GRANT configtrail_copier TO configtrail;
SQL
