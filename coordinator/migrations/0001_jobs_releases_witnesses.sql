-- Every ask that was accepted, and how it ended.
CREATE TABLE jobs (
    id        TEXT NOT NULL PRIMARY KEY,  -- the release's identity, also where there is no release
    requester TEXT NOT NULL,
    permit    TEXT NOT NULL,              -- the permit's identifier
    request   TEXT NOT NULL,              -- JSON: the ask with its signed permit
    opened_at TEXT NOT NULL,
    state     TEXT NOT NULL CHECK (state IN ('running', 'released', 'failed')),
    problem   TEXT                        -- JSON, where it failed
) STRICT;

-- Merged answers; they hold noisy values alone.
CREATE TABLE releases (
    id         TEXT NOT NULL PRIMARY KEY REFERENCES jobs (id),
    requester  TEXT NOT NULL,
    permit     TEXT NOT NULL,
    template   TEXT NOT NULL,             -- the template's content hash
    created_at TEXT NOT NULL,
    body       TEXT NOT NULL              -- JSON
) STRICT;

CREATE INDEX releases_of_requester ON releases (requester, created_at);

-- The newest audit head seen of each node: evidence against a rolled-back log.
CREATE TABLE witnesses (
    node     TEXT NOT NULL PRIMARY KEY,
    sequence INTEGER NOT NULL,
    hash     TEXT NOT NULL,
    seen_at  TEXT NOT NULL
) STRICT;
