-- From version 2 to 3: the tables of single capabilities. Replicas of version 2 may go on beside
-- those of version 3.
SELECT 3;

-- What applications are to be told: the newest event of each message, and what came of it.
CREATE TABLE callbacks (
    message     TEXT    NOT NULL PRIMARY KEY,
    key         TEXT    NOT NULL,
    event       TEXT    NOT NULL,
    at          BIGINT  NOT NULL, -- of the event
    version     BIGINT  NOT NULL, -- of the message then
    due_at      BIGINT, -- NULL: it waits no more
    since       BIGINT  NOT NULL, -- it waits, or was made to wait the last time
    tries       INTEGER NOT NULL DEFAULT 0,
    outcome     TEXT, -- NULL: it waits
    answered_at BIGINT, -- the last try
    code        INTEGER,
    reply       TEXT    NOT NULL DEFAULT ''
);
CREATE INDEX callbacks_due ON callbacks (key, due_at, since) WHERE due_at IS NOT NULL;
CREATE INDEX callbacks_answered ON callbacks (key, answered_at) WHERE answered_at IS NOT NULL;

-- What is known of each application's URL, and which replica sends to it, until when.
CREATE TABLE callback_urls (
    key           TEXT    NOT NULL PRIMARY KEY,
    sender        TEXT    NOT NULL,
    sender_until  BIGINT  NOT NULL,
    paused_at     BIGINT, -- NULL: it is not
    paused_why    TEXT    NOT NULL DEFAULT '',
    failing_since BIGINT, -- NULL: the last try went well
    trouble       TEXT    NOT NULL DEFAULT ''
);
