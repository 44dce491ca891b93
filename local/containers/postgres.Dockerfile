# PostgreSQL, who may ask it, and the script that backs it up.
FROM postgres:17
RUN install -d -o postgres -g postgres -m 0700 /backups
COPY --chmod=0644 local/containers/pg_hba.conf /etc/postgresql/pg_hba.conf
COPY --chmod=0755 local/containers/backup.sh /usr/local/bin/backup.sh
USER postgres
# By TCP: while it is made, it answers on its socket alone.
HEALTHCHECK --interval=5s --timeout=5s --start-period=60s --retries=6 CMD ["pg_isready", "--quiet", "--host=127.0.0.1"]
