FROM nginx:1.27
COPY local/containers/nginx/nginx.conf /etc/nginx/nginx.conf
COPY local/containers/nginx/site.conf local/containers/nginx/proxy.conf local/containers/nginx/headers.conf /etc/nginx/evothesis/
RUN rm -rf /etc/nginx/conf.d/* && mkdir -p /etc/nginx/tls
USER nginx
EXPOSE 8080 8000
HEALTHCHECK --interval=5s --timeout=5s --start-period=10s --retries=6 \
  CMD ["curl", "--fail", "--silent", "--output", "/dev/null", "http://127.0.0.1:8080/nginx-health"]
