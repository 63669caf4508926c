#!/bin/sh
# The part of the public image's entrypoint that docker-compose.yml uses: a cluster on an empty
# volume, owned by POSTGRES_USER with POSTGRES_PASSWORD, holding POSTGRES_DB; then the server.
set -eu

if [ "$(id -u)" = 0 ]; then
    install --directory --owner=postgres --group=postgres --mode=0700 "$PGDATA"
    install --directory --owner=postgres --group=postgres /run/postgresql
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    password_file=$(mktemp)
    printf '%s\n' "${POSTGRES_PASSWORD:?}" > "$password_file"
    initdb --username="${POSTGRES_USER:-postgres}" --pwfile="$password_file" --encoding=UTF8 \
        --auth-local=trust --auth-host=scram-sha-256 --no-sync
    rm "$password_file"
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
    pg_ctl --wait --options="-c listen_addresses=''" start
    if [ "${POSTGRES_DB:-postgres}" != postgres ]; then
        createdb --username="${POSTGRES_USER:-postgres}" "$POSTGRES_DB"
    fi
    pg_ctl --wait --mode=fast stop
fi

exec "$@" -c listen_addresses='*'
