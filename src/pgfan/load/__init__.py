"""Files to COPY: finding them, cutting them on record boundaries, streaming them.

Here is everything that knows what a file looks like, and nothing that knows a database: no SQL but
the options of COPY, no connection, no journal. Bytes pass through as they are: PostgreSQL parses
the fields, and `pgfan.postgres.loading` says which table they go to. The rules that a file is read
by are those of "COPY", File Formats, in PostgreSQL's manual.

`sources` says what a file must be able to do to be loaded in parallel; `records` finds the ends of
records in bytes; `delimited` and `compressed` are CSV and text files, plain and compressed;
`discovery` turns what the user names into a list of them; `feed` lines them up as one domain.
"""
