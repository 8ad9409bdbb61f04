-- The journal in a PostgreSQL database, in a schema of its own. Times are microseconds since
-- 1970, UTC, but for leases, which live by the server's clock alone.
--
-- `record` is the whole Delivery as JSON; the columns beside it are there to be searched.
-- The status column is the truth: a claim changes it and leaves the record as it is.
-- due_at, expires_at and collapse_key are NULL unless the delivery waits, and finished_at
-- unless it has ended, so that the partial indices hold no more than what is asked of them.
CREATE TABLE leases (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    expires_at TIMESTAMPTZ NOT NULL
);

CREATE SEQUENCE deliveries_seq;
CREATE TABLE deliveries (
    seq          BIGINT   PRIMARY KEY, -- in the order of arrival, as good as several replicas know it
    id           TEXT     COLLATE "C" NOT NULL,
    key          TEXT     COLLATE "C" NOT NULL,
    status       TEXT     COLLATE "C" NOT NULL,
    route        TEXT     COLLATE "C" NOT NULL,
    priority     SMALLINT NOT NULL,
    channel      TEXT     COLLATE "C" NOT NULL,
    relay        TEXT     COLLATE "C", -- of the last attempt
    created_at   BIGINT   NOT NULL,
    due_at       BIGINT,
    expires_at   BIGINT,
    collapse_key TEXT     COLLATE "C",
    finished_at  BIGINT,
    stripped     BOOLEAN  NOT NULL DEFAULT FALSE, -- its content has been pruned
    lease        BIGINT,  -- whose it is while it is `sending`; without a row in leases: nobody's
    claim        BIGINT,  -- the call that claimed it; with the lease, what fences a late record
    said         TEXT     COLLATE "C" NOT NULL, -- what a person would look for, A to Z made small
    record       BYTEA    NOT NULL
);
CREATE UNIQUE INDEX deliveries_id ON deliveries (id);
CREATE INDEX deliveries_due ON deliveries (route, priority, key, due_at, seq) WHERE due_at IS NOT NULL;
CREATE INDEX deliveries_expiry ON deliveries (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX deliveries_collapse ON deliveries (collapse_key, key) WHERE collapse_key IS NOT NULL;
CREATE INDEX deliveries_finished ON deliveries (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX deliveries_bodies ON deliveries (finished_at) WHERE finished_at IS NOT NULL AND NOT stripped;
CREATE INDEX deliveries_status ON deliveries (status, seq) WHERE status <> 'sent';
CREATE INDEX deliveries_key ON deliveries (key, seq) WHERE key <> '';
CREATE INDEX deliveries_created ON deliveries (created_at);
-- A queue's rows die young: clear them away by number, whatever the size of the table.
ALTER TABLE deliveries SET (
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000
);

-- Apart from the deliveries, so that a change of those copies no content.
CREATE TABLE contents (seq BIGINT PRIMARY KEY, content BYTEA NOT NULL);

-- What deliveries can be found by that differs from one to the next: `to:`, `user_id:`,
-- `reference:`, `tag:`, each followed by its value.
CREATE TABLE terms (
    term TEXT COLLATE "C" NOT NULL,
    seq  BIGINT NOT NULL,
    PRIMARY KEY (term, seq)
);

CREATE TABLE idempotency (
    scope       TEXT   COLLATE "C" NOT NULL,
    key         TEXT   COLLATE "C" NOT NULL,
    fingerprint BYTEA  NOT NULL,
    answer      BYTEA  NOT NULL,
    asked_at    BIGINT NOT NULL,
    expires_at  BIGINT NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_expiry ON idempotency (expires_at);

CREATE TABLE words (name TEXT COLLATE "C" PRIMARY KEY, value TEXT NOT NULL);

-- How many deliveries there are by status is the sum of these. Each statement adds rows of its
-- own, so that nobody waits for anybody; now and then they are summed up.
CREATE TABLE tallies (status TEXT COLLATE "C" NOT NULL, moved BIGINT NOT NULL);
ALTER TABLE tallies SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE FUNCTION tally_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tallies SELECT status, count(*) FROM rows_after GROUP BY status;
    RETURN NULL;
END $$;
CREATE FUNCTION tally_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tallies
    SELECT status, sum(moved) FROM (
        SELECT status, 1 AS moved FROM rows_after UNION ALL SELECT status, -1 FROM rows_before
    ) AS moves GROUP BY status HAVING sum(moved) <> 0;
    RETURN NULL;
END $$;
CREATE FUNCTION tally_dropped() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tallies SELECT status, -count(*) FROM rows_before GROUP BY status;
    RETURN NULL;
END $$;
CREATE TRIGGER tally_added AFTER INSERT ON deliveries
    REFERENCING NEW TABLE AS rows_after
    FOR EACH STATEMENT EXECUTE FUNCTION tally_added();
CREATE TRIGGER tally_changed AFTER UPDATE ON deliveries
    REFERENCING OLD TABLE AS rows_before NEW TABLE AS rows_after
    FOR EACH STATEMENT EXECUTE FUNCTION tally_changed();
CREATE TRIGGER tally_dropped AFTER DELETE ON deliveries
    REFERENCING OLD TABLE AS rows_before
    FOR EACH STATEMENT EXECUTE FUNCTION tally_dropped();
