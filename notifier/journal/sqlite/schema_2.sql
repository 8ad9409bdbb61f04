-- From version 1 to 2.

-- What was said in each attempt after the first, which only one view shows: apart from the
-- record, so that a list need not read it. place = seq << 20 | the attempt's number among all that were made.
CREATE TABLE conversations (place INTEGER PRIMARY KEY, lines BLOB NOT NULL) STRICT;

-- Since when it waits for a person; NULL: it does not.
ALTER TABLE deliveries ADD COLUMN held_at INTEGER;
UPDATE deliveries SET held_at = strftime('%s', 'now') * 1000000 WHERE status = 'held';
CREATE INDEX deliveries_held ON deliveries (held_at) WHERE held_at IS NOT NULL;

-- When the deliveries of a bucket (seq >> 10) were created: the first and the last time. A clock
-- may be set back, so a time tells nothing of the order of arrival; but few buckets have it.
CREATE TABLE spans (
    bucket INTEGER PRIMARY KEY,
    first  INTEGER NOT NULL,
    last   INTEGER NOT NULL
) STRICT;
INSERT INTO spans SELECT seq >> 10, min(created_at), max(created_at) FROM deliveries GROUP BY 1;

-- What each process has counted in a minute (since 1970). The figures are the sum of them.
CREATE TABLE minutes (
    minute   INTEGER NOT NULL,
    process  TEXT    NOT NULL,
    accepted INTEGER NOT NULL,
    sent     INTEGER NOT NULL,
    failed   INTEGER NOT NULL,
    waiting  INTEGER NOT NULL,
    PRIMARY KEY (minute, process)
) STRICT, WITHOUT ROWID;
INSERT INTO minutes
SELECT json_extract(f, '$[0]'), '', json_extract(f, '$[1]'), json_extract(f, '$[2]'),
    json_extract(f, '$[3]'), json_extract(f, '$[4]')
FROM (
    SELECT '[' || replace(value, ' ', ',') || ']' AS f FROM words WHERE name GLOB 'minute:*'
) WHERE json_valid(f);
DELETE FROM words WHERE name GLOB 'minute:*';
