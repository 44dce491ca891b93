"""The numbered migrations, as `.sql` files; `storage.migrations` applies them."""
