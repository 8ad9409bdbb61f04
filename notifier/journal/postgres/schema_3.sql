-- From version 2 to 3: the tables of single capabilities. Replicas of version 2 may go on beside
-- those of version 3. Use suppressions only once every replica is of this version: one of version 2
-- cannot read a record with a suppressed recipient, and holds the message.

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
CREATE INDEX callbacks_since ON callbacks (key, since) WHERE due_at IS NOT NULL;
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

-- Suppressions: recipients to whom nothing is sent.
CREATE TABLE suppressions (
    address TEXT   COLLATE "C" NOT NULL, -- in lower case; `@example.org` is a domain, `+12025550123` a number
    key     TEXT   COLLATE "C" NOT NULL, -- name of an API key; '': all keys
    domain  TEXT   COLLATE "C" NOT NULL, -- of the address; '': it is a number
    reason  TEXT   COLLATE "C" NOT NULL,
    since   BIGINT NOT NULL,
    until   BIGINT, -- NULL: without end
    times   BIGINT NOT NULL, -- how often it was suppressed by itself; 0: it was put there
    source  TEXT   COLLATE "C" NOT NULL, -- who or what put it there
    PRIMARY KEY (address, key)
);
CREATE INDEX suppressions_domain ON suppressions (domain, address, key);
CREATE INDEX suppressions_reason ON suppressions (reason, address, key);
CREATE INDEX suppressions_key ON suppressions (key, address);
CREATE INDEX suppressions_until ON suppressions (until);

-- Bounces that say that a mailbox does not exist: one for each message and address.
CREATE TABLE suppression_strikes (
    address  TEXT   COLLATE "C" NOT NULL,
    delivery TEXT   COLLATE "C" NOT NULL, -- its id
    at       BIGINT NOT NULL,
    domain   TEXT   COLLATE "C" NOT NULL,
    relay    TEXT   COLLATE "C" NOT NULL, -- by which it bounced, or that had taken the message
    code     TEXT   COLLATE "C" NOT NULL, -- enhanced status code, RFC 3463
    PRIMARY KEY (address, delivery)
);
CREATE INDEX suppression_strikes_domain ON suppression_strikes (domain, at);
CREATE INDEX suppression_strikes_relay ON suppression_strikes (relay, at);
CREATE INDEX suppression_strikes_at ON suppression_strikes (at);

-- Reports. 1: it came back from a recipient after a relay took it; NULL: it did not.
ALTER TABLE deliveries ADD COLUMN bounced SMALLINT;
CREATE INDEX deliveries_bounced ON deliveries (seq) WHERE bounced IS NOT NULL;


-- Recipients of whom it was reported in a minute that the message came back.
ALTER TABLE minutes ADD COLUMN bounced BIGINT NOT NULL DEFAULT 0;

-- Who did what. `once`: what is told in portions, or by several replicas, is one row.
CREATE TABLE audit (
    seq     BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      BIGINT  NOT NULL,
    actor   TEXT    NOT NULL,
    what    TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    number  BIGINT  NOT NULL, -- of the things that it was done to
    detail  TEXT    NOT NULL,
    once    TEXT    UNIQUE
);
CREATE INDEX audit_at ON audit (at, seq);
CREATE INDEX audit_actor ON audit (actor, at, seq);
CREATE INDEX audit_what ON audit (what, at, seq);
CREATE INDEX audit_actor_what ON audit (actor, what, at, seq);
