# PostgreSQL, who may ask it, and the script that backs it up.
FROM postgres:17
RUN install -d -o postgres -g postgres -m 0700 /backups
COPY --chmod=0644 local/containers/pg_hba.conf /etc/postgresql/pg_hba.conf
COPY --chmod=0755 local/containers/backup.sh /usr/local/bin/backup.sh
USER postgres
