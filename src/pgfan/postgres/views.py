"""The definitions of views, those that they are made of included, in one query.

pg_get_viewdef writes every name so that the session's search_path finds what the view means, and
qualifies the rest. Constants are written in the forms that lose nothing and that every setting
reads alike. See "System Catalog Information Functions" in PostgreSQL's manual.

A view is read with its owner's privileges, its definition with those of the running role: so what
the role may not read, and row security on anything in a view, is told apart here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from pgfan.sql.facts import ViewFacts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pgfan.ports import Session

VIEWS: LiteralString = """
SET LOCAL datestyle = 'ISO';
SET LOCAL intervalstyle = 'postgres';
SET LOCAL extra_float_digits = 3;
WITH RECURSIVE depends (view, class, oid) AS NOT MATERIALIZED (
    SELECT r.ev_class, d.refclassid, d.refobjid FROM pg_catalog.pg_rewrite r
    JOIN pg_catalog.pg_depend d ON d.objid = r.oid
        AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
    WHERE r.rulename = '_RETURN' AND d.refobjid <> r.ev_class
), views (oid) AS (
    SELECT oid FROM pg_catalog.unnest('{oids}'::pg_catalog.oid[]) AS w (oid)
    UNION SELECT d.oid FROM views v JOIN depends d ON d.view = v.oid
        JOIN pg_catalog.pg_class c ON c.oid = d.oid AND c.relkind = 'v'
        WHERE d.class = 'pg_catalog.pg_class'::pg_catalog.regclass
), used AS (
    SELECT DISTINCT v.oid AS view, c.oid, c.relkind, c.relrowsecurity, c.relnamespace
    FROM views v JOIN depends d ON d.view = v.oid
    JOIN pg_catalog.pg_class c ON c.oid = d.oid
    WHERE d.class = 'pg_catalog.pg_class'::pg_catalog.regclass
)
SELECT c.oid, CASE WHEN n.nspname NOT IN ('pg_catalog', 'information_schema')
        THEN pg_catalog.pg_get_viewdef(c.oid) END,
    EXISTS (SELECT FROM pg_catalog.pg_options_to_table(c.reloptions)
        WHERE option_name = 'security_barrier' AND option_value::pg_catalog.bool),
    EXISTS (SELECT FROM used u WHERE u.view = c.oid AND u.relrowsecurity),
    (SELECT pg_catalog.min(u.oid::pg_catalog.regclass::pg_catalog.text) FROM used u
        WHERE u.view = c.oid AND (
            pg_catalog.has_schema_privilege(u.relnamespace, 'USAGE') IS NOT TRUE
            OR u.relkind <> 'S'
                AND pg_catalog.has_table_privilege(u.oid, 'SELECT') IS NOT TRUE)),
    COALESCE((SELECT pg_catalog.min(o.oprname::pg_catalog.text) FROM depends d
        JOIN pg_catalog.pg_operator o ON o.oid = d.oid
        WHERE d.view = c.oid AND d.class = 'pg_catalog.pg_operator'::pg_catalog.regclass
            AND o.oprname IN ('=', '<>', '<', '<=', '>', '>=')
            AND NOT pg_catalog.pg_operator_is_visible(o.oid)),
        (SELECT '=' FROM pg_catalog.unnest(pg_catalog.current_schemas(true))
            WITH ORDINALITY AS s (name, ord)
        WHERE s.name !~ '^pg_temp_'
        GROUP BY () HAVING (pg_catalog.array_agg(s.name ORDER BY s.ord))[1] <> 'pg_catalog'))
FROM views JOIN pg_catalog.pg_class c USING (oid)
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"""


def read_views(session: Session, oids: Iterable[int]) -> dict[int, ViewFacts]:
    """The facts of the views with these oids and of all views below them, by oid."""
    listed = "{" + ",".join(str(oid) for oid in sorted(oids)) + "}"
    rows = session.execute(VIEWS.replace("{oids}", listed))[-1].rows
    return {
        int(oid or 0): ViewFacts(
            definition or "",
            barrier == "t",
            secured == "t",
            (forbidden,) if forbidden else (),
            (hidden,) if hidden else (),
        )
        for oid, definition, barrier, secured, forbidden, hidden in rows
    }
