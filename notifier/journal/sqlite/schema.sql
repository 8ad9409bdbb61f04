-- The journal in a SQLite file. Times are microseconds since 1970, UTC.
--
-- `record` is the whole Delivery as JSON; the columns beside it are there to be searched.
-- The status column is the truth: a claim changes it and leaves the record as it is.
-- due_at, expires_at and collapse_key are NULL unless the delivery waits, and finished_at
-- unless it has ended, so that the partial indices hold no more than what is asked of them.
CREATE TABLE deliveries (
    seq          INTEGER PRIMARY KEY, -- in the order of arrival
    id           TEXT    NOT NULL,
    key          TEXT    NOT NULL,
    status       TEXT    NOT NULL,
    route        TEXT    NOT NULL,
    priority     INTEGER NOT NULL,
    channel      TEXT    NOT NULL,
    relay        TEXT, -- of the last attempt
    created_at   INTEGER NOT NULL,
    due_at       INTEGER,
    expires_at   INTEGER,
    collapse_key TEXT,
    finished_at  INTEGER,
    stripped     INTEGER NOT NULL DEFAULT 0, -- its content has been pruned
    record       BLOB    NOT NULL
) STRICT;

CREATE UNIQUE INDEX deliveries_id ON deliveries (id);
CREATE INDEX deliveries_due ON deliveries (route, priority, key, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_expiry ON deliveries (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX deliveries_collapse ON deliveries (collapse_key, key) WHERE collapse_key IS NOT NULL;
CREATE INDEX deliveries_finished ON deliveries (stripped, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX deliveries_status ON deliveries (status);
CREATE INDEX deliveries_channel ON deliveries (channel);
CREATE INDEX deliveries_key ON deliveries (key) WHERE key <> '';
CREATE INDEX deliveries_relay ON deliveries (relay) WHERE relay IS NOT NULL;

-- Apart from the deliveries, so that a page of those stays small.
CREATE TABLE contents (seq INTEGER PRIMARY KEY, content BLOB NOT NULL) STRICT;

-- What deliveries can be found by that differs from one to the next: `to:`, `user_id:`,
-- `reference:`, `tag:`, each followed by its value. One index over all of them would have
-- every new row dirty a page of its own. So there is a small one for every 1024 deliveries
-- (bucket = seq >> 10): writing stays in a few pages, and a search looks into each bucket.
CREATE TABLE terms (
    bucket INTEGER NOT NULL,
    term   TEXT    NOT NULL,
    seq    INTEGER NOT NULL,
    PRIMARY KEY (bucket, term, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency (
    scope       TEXT    NOT NULL,
    key         TEXT    NOT NULL,
    fingerprint BLOB    NOT NULL,
    answer      BLOB    NOT NULL,
    expires_at  INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT;
CREATE INDEX idempotency_expiry ON idempotency (expires_at);

CREATE TABLE words (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
