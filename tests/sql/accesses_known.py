"""The database that the cases in tests/sql/accesses/ are about."""

from __future__ import annotations

from pgfan.sql.known import (
    KnownColumn,
    KnownForeignKey,
    KnownFunction,
    KnownObjects,
    KnownRelation,
    KnownRule,
    KnownTrigger,
    KnownType,
)

BY_SQL = "RETURNS int LANGUAGE sql AS $$ {} $$"
BY_PLPGSQL = "RETURNS int LANGUAGE plpgsql AS $$ {} $$"
BY_C = "RETURNS int LANGUAGE c AS 'library', 'symbol'"


def function(name: str, parameters: str, rest: str, **facts: str) -> KnownFunction:
    definition = f"CREATE FUNCTION public.{name}({parameters}) {rest}"
    facts.setdefault("arguments", parameters)
    if "plpgsql" in rest:
        facts["language"] = "plpgsql"
    if "LANGUAGE c " in rest:
        facts["language"] = "c"
    return KnownFunction(("public", name), definition, **facts)  # type: ignore[arg-type]


def table(name: str, *columns: KnownColumn | str, **facts: object) -> KnownRelation:
    made = tuple(KnownColumn(c) if isinstance(c, str) else c for c in columns or ("a",))
    return KnownRelation(("public", name), columns=made, **facts)  # type: ignore[arg-type]


TABLES = (
    table("t", "a", "b"),
    KnownRelation(("public", "t_i"), "index", table=("public", "t")),
    table("u", "a", "b"),
    KnownRelation(("s", "x"), columns=(KnownColumn("a"),)),
    # Fed by sequences: serial and identity.
    table("w", KnownColumn("id", "nextval('public.w_id_seq'::regclass)"), "a"),
    KnownRelation(("public", "w_id_seq"), "sequence", table=("public", "w"), column="id"),
    table("ident", KnownColumn("id", sequence=("public", "ident_id_seq")), "a"),
    KnownRelation(("public", "ident_id_seq"), "sequence", table=("public", "ident"), column="id"),
    KnownRelation(("public", "seq"), "sequence"),
    KnownRelation(("s", "other"), "sequence"),
    # Views: v of t and f(), vv of v and u, m of vv.
    KnownRelation(("public", "v"), "view", definition="SELECT a, public.f(a) FROM public.t"),
    KnownRelation(
        ("public", "vv"),
        "view",
        definition="SELECT v.a FROM (public.v JOIN public.u USING (a))",
    ),
    KnownRelation(("public", "m"), "materialized view", definition="SELECT a FROM public.vv"),
    # Partitions: part of part_a and part_b, which has a trigger; tree over two levels, which has a
    # foreign key.
    table("part"),
    table("part_a", parents=(("public", "part"),)),
    table(
        "part_b",
        parents=(("public", "part"),),
        triggers=(KnownTrigger("tr", ("public", "on_row"), frozenset({"insert"})),),
    ),
    table("tree", foreign_keys=(KnownForeignKey(("public", "parent")),)),
    table("tree_rest", parents=(("public", "tree"),), is_default_partition=True),
    table("tree_sub", parents=(("public", "tree"),)),
    table("tree_leaf", parents=(("public", "tree_sub"),)),
    # child's rows go with parent's.
    table("parent"),
    table("child", foreign_keys=(KnownForeignKey(("public", "parent"), True, "child_fk"),)),
    # What writers run: triggers, rules, checks; and a policy, which readers run, too.
    table("watched", triggers=(KnownTrigger("tr", ("public", "on_row"), frozenset({"update"})),)),
    table(
        "audited",
        triggers=(
            KnownTrigger(
                "tr", ("public", "on_row"), frozenset({"insert"}), "(public.g(new.a) > 0)"
            ),
        ),
    ),
    table(
        "ruled",
        rules=(
            KnownRule(
                "CREATE RULE r AS ON INSERT TO public.ruled DO ALSO "
                "DELETE FROM public.u WHERE (u.a = new.a)"
            ),
        ),
    ),
    table("checked", expressions=("(public.f(a) > 0)",)),
    table("guarded", expressions=("(a IN ( SELECT u.a FROM public.u))",)),
    table("moody", KnownColumn("a", type=("public", "mood"))),
    KnownRelation(("public", "remote"), "foreign table", server="far"),
    KnownRelation(("public", "csv"), "foreign table", server="files"),
    KnownRelation(("public", "pair"), "composite type"),
)

FUNCTIONS = (
    function("f", "x integer", BY_SQL.format("SELECT max(a) FROM u"), arguments="integer"),
    function("g", "x integer", BY_SQL.format("SELECT x + 1"), arguments="integer"),
    function("g2", "x integer", BY_SQL.format("SELECT a FROM s.x"), arguments="integer"),
    function("h", "", BY_PLPGSQL.format("BEGIN INSERT INTO t VALUES (1); RETURN 1; END")),
    function("deep", "", BY_PLPGSQL.format("BEGIN RETURN h() + f(1); END")),
    function("fixed", "", "RETURNS int LANGUAGE sql SET search_path = s AS $$ SELECT a FROM x $$"),
    function("dyn", "", BY_PLPGSQL.format("BEGIN EXECUTE 'x' || 1; END")),
    function("dyn_constant", "", BY_PLPGSQL.format("BEGIN EXECUTE 'DELETE FROM t'; END")),
    function("defs", "", BY_PLPGSQL.format("BEGIN CREATE TEMP TABLE z (); END")),
    function("sets", "", BY_PLPGSQL.format("BEGIN SET work_mem = '1GB'; END")),
    function("ctas_in_it", "", BY_SQL.format("SELECT 1 INTO z")),
    KnownFunction(("public", "total"), "", "integer", "aggregate", calls=(("public", "g2"),)),
    function("native", "int", BY_C),
    function("native_immutable", "int", BY_C, volatility="i"),
    function("similarity", "text, text", BY_C, volatility="s", extension="pg_trgm"),
    function("py", "", "RETURNS int LANGUAGE plpython3u AS $$ return 1 $$"),
    function("rows_of", "int", "RETURNS SETOF u LANGUAGE sql AS $$ SELECT * FROM u $$"),
    function("eq", "integer, integer", BY_SQL.format("SELECT EXISTS (SELECT FROM s.x)")),
    function(
        "on_row",
        "",
        "RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "NEW.a := nextval('seq'); INSERT INTO t VALUES (NEW.a); RETURN NEW; END $$",
    ),
    KnownFunction(
        ("public", "p"),
        "CREATE PROCEDURE public.p() LANGUAGE plpgsql AS "
        "$$ BEGIN UPDATE t SET a = 1; COMMIT; DELETE FROM u; END $$",
        language="plpgsql",
    ),
)

KNOWN = KnownObjects(
    schemas=frozenset({"public", "s"}),
    user="joe",
    relations=TABLES,
    functions=FUNCTIONS,
    types=(
        KnownType(("public", "mood")),
        KnownType(("public", "positive"), ("(public.f(VALUE) > 0)",)),
    ),
    operators=(("===", ("public", "eq")),),
    wrappers=(("files", "file_fdw"), ("far", "postgres_fdw")),
)
