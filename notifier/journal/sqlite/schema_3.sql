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
CREATE INDEX callbacks_since ON callbacks (key, since) WHERE due_at IS NOT NULL;
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


-- Suppressions: recipients to whom nothing is sent.
CREATE TABLE suppressions (
    address TEXT    NOT NULL, -- in lower case; `@example.org` is a domain, `+12025550123` a number
    key     TEXT    NOT NULL, -- name of an API key; '': all keys
    domain  TEXT    NOT NULL, -- of the address; '': it is a number
    reason  TEXT    NOT NULL,
    since   INTEGER NOT NULL,
    until   INTEGER, -- NULL: without end
    times   INTEGER NOT NULL, -- how often it was suppressed by itself; 0: it was put there
    source  TEXT    NOT NULL, -- who or what put it there
    PRIMARY KEY (address, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX suppressions_domain ON suppressions (domain, address, key);
CREATE INDEX suppressions_reason ON suppressions (reason, address, key);
CREATE INDEX suppressions_key ON suppressions (key, address);
CREATE INDEX suppressions_until ON suppressions (until);

-- Bounces that say that a mailbox does not exist: one for each message and address.
CREATE TABLE suppression_strikes (
    address  TEXT    NOT NULL,
    delivery TEXT    NOT NULL, -- its id
    at       INTEGER NOT NULL,
    domain   TEXT    NOT NULL,
    relay    TEXT    NOT NULL, -- by which it bounced, or that had taken the message
    code     TEXT    NOT NULL, -- enhanced status code, RFC 3463
    PRIMARY KEY (address, delivery)
) STRICT, WITHOUT ROWID;
CREATE INDEX suppression_strikes_domain ON suppression_strikes (domain, at);
CREATE INDEX suppression_strikes_relay ON suppression_strikes (relay, at);
CREATE INDEX suppression_strikes_at ON suppression_strikes (at);

-- Reports. 1: it came back from a recipient after a relay took it; NULL: it did not.
ALTER TABLE deliveries ADD COLUMN bounced INTEGER;
CREATE INDEX deliveries_bounced ON deliveries (bounced) WHERE bounced IS NOT NULL;


-- Recipients of whom it was reported in a minute that the message came back.
ALTER TABLE minutes ADD COLUMN bounced INTEGER NOT NULL DEFAULT 0;

-- Who did what. `once`: what is told in portions, or by several replicas, is one row.
CREATE TABLE audit (
    seq     INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    actor   TEXT    NOT NULL,
    what    TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    number  INTEGER NOT NULL, -- of the things that it was done to
    detail  TEXT    NOT NULL,
    once    TEXT    UNIQUE
) STRICT;
CREATE INDEX audit_at ON audit (at, seq);
CREATE INDEX audit_actor ON audit (actor, at, seq);
CREATE INDEX audit_what ON audit (what, at, seq);
CREATE INDEX audit_actor_what ON audit (actor, what, at, seq);
