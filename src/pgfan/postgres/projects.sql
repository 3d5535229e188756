-- What the journal knows of projects (pgfan run --project). {schema} is put in as a quoted identifier.
-- Made by the first run of a project; `pgfan forget --project NAME` deletes what is known of one.

CREATE TABLE IF NOT EXISTS {schema}.project (
    name  text PRIMARY KEY,
    whole text                      -- digest of the script that all is built of; NULL: not all is
);

CREATE TABLE IF NOT EXISTS {schema}.built (
    project     text NOT NULL REFERENCES {schema}.project ON DELETE CASCADE,
    number      integer NOT NULL,   -- in the order in which it was done
    fingerprint text NOT NULL,
    text        text NOT NULL,
    files       text NOT NULL,
    place       text NOT NULL,
    footprint   json NOT NULL,
    state       text NOT NULL CHECK (state IN ('begun', 'part', 'done')),
                                    -- part: it ended in the middle, and left some of its work
    run         text NOT NULL,
    task        integer NOT NULL,   -- its number in the run
    unlogged    boolean NOT NULL DEFAULT false,
    PRIMARY KEY (project, number)
);

CREATE UNLOGGED TABLE IF NOT EXISTS {schema}.built_unlogged (
    project text NOT NULL,          -- as long as unlogged tables have what was built in them
    number  integer NOT NULL,
    PRIMARY KEY (project, number)
);

CREATE TABLE IF NOT EXISTS {schema}.made (
    project     text NOT NULL REFERENCES {schema}.project ON DELETE CASCADE,
    kind        text NOT NULL,
    schema      text,               -- NULL: the kind has none, or the script does not say
    name        text NOT NULL,
    catalog     text NOT NULL,
    oid         oid NOT NULL,
    PRIMARY KEY (project, catalog, oid)
);

CREATE TABLE IF NOT EXISTS {schema}.pending (
    project text PRIMARY KEY REFERENCES {schema}.project ON DELETE CASCADE,
    run     text NOT NULL,
    plan    json NOT NULL
);

CREATE TABLE IF NOT EXISTS {schema}.data_file (
    project    text NOT NULL REFERENCES {schema}.project ON DELETE CASCADE,
    path       text NOT NULL,
    size_bytes bigint NOT NULL,
    changed_ns bigint NOT NULL,
    sha256     text NOT NULL,
    PRIMARY KEY (project, path)
);
