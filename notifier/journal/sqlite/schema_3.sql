-- From version 2 to 3: the tables of single capabilities.

-- What applications are to be told: the newest event of each message, and what came of it.
CREATE TABLE callbacks (
    message     TEXT    NOT NULL PRIMARY KEY,
    key         TEXT    NOT NULL,
    event       TEXT    NOT NULL,
    at          INTEGER NOT NULL, -- of the event
    version     INTEGER NOT NULL, -- of the message then
    due_at      INTEGER, -- NULL: it waits no more
    since       INTEGER NOT NULL, -- it waits, or was made to wait the last time
    tries       INTEGER NOT NULL DEFAULT 0,
    outcome     TEXT, -- NULL: it waits
    answered_at INTEGER, -- the last try
    code        INTEGER,
    reply       TEXT    NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE INDEX callbacks_due ON callbacks (key, due_at, since) WHERE due_at IS NOT NULL;
CREATE INDEX callbacks_answered ON callbacks (key, answered_at) WHERE answered_at IS NOT NULL;

-- What is known of each application's URL, and which replica sends to it, until when.
CREATE TABLE callback_urls (
    key           TEXT    NOT NULL PRIMARY KEY,
    sender        TEXT    NOT NULL,
    sender_until  INTEGER NOT NULL,
    paused_at     INTEGER, -- NULL: it is not
    paused_why    TEXT    NOT NULL DEFAULT '',
    failing_since INTEGER, -- NULL: the last try went well
    trouble       TEXT    NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
