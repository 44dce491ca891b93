"""The embedded parts: PostgreSQL and LocalStack S3 as child processes of the runner."""
