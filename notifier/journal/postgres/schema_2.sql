-- From version 1 to 2. Replicas of version 1 may go on beside those of version 2.

-- What was said in each attempt after the first, which only one view shows: apart from the
-- record, so that a list need not read it. `number` is the attempt's among all that were made.
CREATE TABLE conversations (
    seq    BIGINT  NOT NULL,
    number INTEGER NOT NULL,
    lines  BYTEA   NOT NULL,
    PRIMARY KEY (seq, number)
);

-- Since when it waits for a person; NULL: it does not.
ALTER TABLE deliveries ADD COLUMN held_at BIGINT;
UPDATE deliveries SET held_at = (extract(epoch FROM now()) * 1000000)::bigint WHERE status = 'held';
CREATE INDEX deliveries_held ON deliveries (held_at) WHERE held_at IS NOT NULL;

-- Any relay, channel or status may be the rare one, `sent` too.
CREATE INDEX deliveries_relay ON deliveries (relay, seq) WHERE relay IS NOT NULL;
DROP INDEX deliveries_status;
CREATE INDEX deliveries_status ON deliveries (status, seq);
CREATE INDEX deliveries_channel ON deliveries (channel, seq);

-- What each process has counted in a minute (since 1970). The figures are the sum of them.
CREATE TABLE minutes (
    minute   BIGINT NOT NULL,
    process  TEXT   COLLATE "C" NOT NULL,
    accepted BIGINT NOT NULL,
    sent     BIGINT NOT NULL,
    failed   BIGINT NOT NULL,
    waiting  BIGINT NOT NULL,
    PRIMARY KEY (minute, process)
);
INSERT INTO minutes
SELECT f[1]::bigint, '', f[2]::bigint, f[3]::bigint, f[4]::bigint, f[5]::bigint
FROM (
    SELECT string_to_array(value, ' ') AS f FROM words
    WHERE name LIKE 'minute:%' AND value ~ '^\d+( \d+){4}$'
) AS kept
ON CONFLICT DO NOTHING;
DELETE FROM words WHERE name LIKE 'minute:%';
