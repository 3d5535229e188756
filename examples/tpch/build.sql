-- TPC-H from its CSV files to keys, indexes and the results of its 22 queries as tables.
--
--   tpchgen-cli csv --scale-factor=1 --output-dir=/data/tpch
--   pgfan run build.sql --set data=/data/tpch          (--set scale=0.1 for another scale factor)
--   psql -v ON_ERROR_STOP=1 -v data=/data/tpch -f build.sql
\if :{?scale}
\else
  \set scale 1
\endif
\ir schema.sql
\ir load.sql
\ir keys.sql
\ir indexes.sql
\ir foreign_keys.sql
\ir analyze.sql
\ir queries/q01.sql
\ir queries/q02.sql
\ir queries/q03.sql
\ir queries/q04.sql
\ir queries/q05.sql
\ir queries/q06.sql
\ir queries/q07.sql
\ir queries/q08.sql
\ir queries/q09.sql
\ir queries/q10.sql
\ir queries/q11.sql
\ir queries/q12.sql
\ir queries/q13.sql
\ir queries/q14.sql
\ir queries/q15.sql
\ir queries/q16.sql
\ir queries/q17.sql
\ir queries/q18.sql
\ir queries/q19.sql
\ir queries/q20.sql
\ir queries/q21.sql
\ir queries/q22.sql
