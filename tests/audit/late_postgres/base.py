"""PostgreSQL as an alias that a fixture adds, after Django and pytest-django have said
which ones a test may use: those forbid it to threads."""

from __future__ import annotations

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    def ensure_connection(self) -> None:
        if self.connection is None:
            with self.wrap_database_errors:
                self.connect()
