"""How the journal's tables came to be what they are: one script for each version, in order.

A file of version N has had the first N of them. Never change one that was released: append another.
"""

from __future__ import annotations

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE users (
        name TEXT PRIMARY KEY, role TEXT NOT NULL, weight REAL NOT NULL, uid INTEGER, token_hash TEXT NOT NULL UNIQUE,
        created_at TEXT NOT NULL
    ) STRICT;
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, user TEXT NOT NULL, name TEXT NOT NULL,
        state TEXT NOT NULL, finished_at TEXT, cleared INTEGER NOT NULL DEFAULT 0, seq INTEGER NOT NULL,
        record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX jobs_by_seq ON jobs (seq);
    CREATE INDEX jobs_by_end ON jobs (finished_at DESC, id DESC) WHERE finished_at IS NOT NULL AND NOT cleared;
    CREATE INDEX jobs_alive ON jobs (id) WHERE finished_at IS NULL;
    CREATE INDEX jobs_by_name ON jobs (name);
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, job INTEGER NOT NULL REFERENCES jobs (id), at TEXT NOT NULL,
        old TEXT, new TEXT NOT NULL, actor TEXT NOT NULL, cause TEXT NOT NULL
    ) STRICT;
    CREATE INDEX events_by_job ON events (job, seq);
    CREATE TABLE accounts (user TEXT PRIMARY KEY, usage REAL NOT NULL, as_of REAL NOT NULL, rate REAL NOT NULL) STRICT;
    """,
    """
    CREATE TABLE images (
        job INTEGER PRIMARY KEY REFERENCES jobs (id), image TEXT NOT NULL, fingerprint TEXT NOT NULL
    ) STRICT;
    """,
    """
    CREATE TABLE turns (
        user TEXT NOT NULL, needs_gpu INTEGER NOT NULL, at REAL NOT NULL, PRIMARY KEY (user, needs_gpu)
    ) STRICT;
    """,
    # A uid that several users had, or that means nobody at all, says of nobody who they are: it goes. The tokens of old
    # had no end; now they have one, far enough off for everybody to get another.
    """
    ALTER TABLE users RENAME TO former_users;
    CREATE TABLE users (
        name TEXT PRIMARY KEY, role TEXT NOT NULL, weight REAL NOT NULL, uid INTEGER UNIQUE, email TEXT, ssh_key TEXT,
        password_hash TEXT, created_at TEXT NOT NULL
    ) STRICT;
    INSERT INTO users SELECT
        name, role, weight,
        CASE WHEN uid != 65534 AND count(*) OVER (PARTITION BY uid) = 1 THEN uid END,
        NULL, NULL, NULL, created_at
        FROM former_users;
    CREATE TABLE tokens (
        hash TEXT PRIMARY KEY, user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE, created_at TEXT NOT NULL,
        expires_at TEXT NOT NULL, source TEXT NOT NULL
    ) STRICT;
    CREATE INDEX tokens_by_user ON tokens (user);
    INSERT INTO tokens SELECT
        token_hash, name, created_at, strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now', '+90 days'), 'an earlier version'
        FROM former_users;
    DROP TABLE former_users;
    CREATE TABLE registrations (
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, email TEXT NOT NULL, wished_uid INTEGER, ssh_key TEXT,
        password_hash TEXT NOT NULL, address TEXT NOT NULL, asked_at TEXT NOT NULL
    ) STRICT;
    CREATE TABLE invites (
        hash TEXT PRIMARY KEY, role TEXT NOT NULL, weight REAL NOT NULL, expires_at TEXT NOT NULL
    ) STRICT;
    """,
    # A job ends once, whatever the code above does. What each attempt held stays told, also when a further one follows.
    """
    ALTER TABLE events ADD COLUMN lease TEXT;
    CREATE UNIQUE INDEX one_end_of_each_job ON events (job) WHERE new IN
        ('succeeded', 'failed', 'cancelled', 'timed_out', 'lost', 'invalid', 'build_failed');
    """,
    # What is held now. The register sees to it that nothing is held twice; this is so whatever the code above does.
    """
    CREATE TABLE leases (
        job INTEGER NOT NULL REFERENCES jobs (id), gpu TEXT NOT NULL, part REAL NOT NULL CHECK (part > 0 AND part <= 1),
        PRIMARY KEY (job, gpu)
    ) STRICT;
    CREATE UNIQUE INDEX leases_of_whole_gpus ON leases (gpu) WHERE part = 1;
    CREATE TRIGGER leases_of_parts BEFORE INSERT ON leases
        WHEN NEW.part + (SELECT total(part) FROM leases WHERE gpu = NEW.gpu) > 1.00001
        BEGIN SELECT RAISE(ABORT, 'a part of a GPU is leased twice'); END;
    INSERT INTO leases
        SELECT jobs.id, held.value, coalesce(json_extract(record, '$.state.lease.part'), 1.0)
        FROM jobs, json_each(record, '$.state.lease.gpus') AS held WHERE state IN ('starting', 'running', 'stopping');
    """,
)
