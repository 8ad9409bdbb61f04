-- From version 3 to 4.

-- Forgetting a person. `hash` stands for the address everywhere, see `erasure`.
CREATE TABLE erasures (
    id       TEXT    NOT NULL PRIMARY KEY,
    hash     TEXT    NOT NULL,
    address  BLOB, -- sealed, so that a search goes on after a crash; NULL: the search is over
    at       INTEGER NOT NULL,
    actor    TEXT    NOT NULL, -- who asked for it
    state    TEXT    NOT NULL,
    progress TEXT    NOT NULL, -- where the search goes on, and what came of it so far: JSON
    ended_at INTEGER -- NULL: there is more to do
) STRICT, WITHOUT ROWID;
CREATE INDEX erasures_open ON erasures (at) WHERE ended_at IS NULL;
CREATE INDEX erasures_at ON erasures (at);

-- Messages whose content others still wait for: it goes once they have ended.
CREATE TABLE erasure_rests (
    erasure TEXT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (erasure, message)
) STRICT, WITHOUT ROWID;

-- What each process has wiped in its own memory and on its own disk: JSON.
CREATE TABLE erasure_shares (
    erasure TEXT NOT NULL,
    process TEXT NOT NULL,
    counts  TEXT NOT NULL,
    PRIMARY KEY (erasure, process)
) STRICT, WITHOUT ROWID;
