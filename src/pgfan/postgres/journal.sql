-- pgfan's journal, version 1: what is done. {schema} is put in as a quoted identifier.
-- Everything is plain SQL: look at it, count on it, delete from it with `pgfan forget`.

CREATE SCHEMA IF NOT EXISTS {schema};

CREATE TABLE IF NOT EXISTS {schema}.version (
    version integer PRIMARY KEY
);
INSERT INTO {schema}.version VALUES (1) ON CONFLICT DO NOTHING;

-- One invocation. The same fingerprint in a state other than done or abandoned is resumed.
CREATE TABLE IF NOT EXISTS {schema}.run (
    id          text PRIMARY KEY,
    fingerprint text NOT NULL,
    title       text NOT NULL,
    state       text NOT NULL CHECK (state IN ('running', 'done', 'failed', 'interrupted', 'abandoned')),
    owner       text NOT NULL,              -- token of the client that may write; a resume changes it
    client      text NOT NULL,              -- who that is, for people: user@host, process id
    script      jsonb NOT NULL,             -- the SQL and its sources, so that `resume` needs no file
    session     jsonb NOT NULL,             -- settings of the connection that change results
    started_at  timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
    ended_at    timestamptz
);
CREATE INDEX IF NOT EXISTS run_fingerprint ON {schema}.run (fingerprint);

-- One statement, transaction block or load of a run. `plan` is kept so that a resume cuts alike.
CREATE TABLE IF NOT EXISTS {schema}.task (
    key         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run         text NOT NULL REFERENCES {schema}.run ON DELETE CASCADE,
    number      integer NOT NULL,
    source      text NOT NULL,
    kind        text NOT NULL,
    state       text NOT NULL CHECK (state IN ('running', 'outside', 'done', 'failed')),
                                            -- outside: runs outside of a transaction; outcome unknown
    plan        jsonb NOT NULL,
    sources     jsonb,                      -- what the source relations looked like
    rows        bigint,
    chunks      bigint,
    seconds     double precision,
    error       text,
    UNIQUE (run, number)
);

-- One committed chunk, written by its own transaction. No foreign key: it would lock the task's
-- row once per chunk.
CREATE TABLE IF NOT EXISTS {schema}.chunk (
    task    bigint NOT NULL,
    lo      bigint NOT NULL,
    hi      bigint NOT NULL,
    rows    bigint,
    seconds real,
    PRIMARY KEY (task, lo)
);

-- The same for chunks that write unlogged tables: a crash empties both together.
CREATE UNLOGGED TABLE IF NOT EXISTS {schema}.chunk_unlogged (
    task    bigint NOT NULL,
    lo      bigint NOT NULL,
    hi      bigint NOT NULL,
    rows    bigint,
    seconds real,
    PRIMARY KEY (task, lo)
);
