-- The CSV files of tpchgen-cli in the folder :data. psql puts no variables into the arguments of
-- \copy, so each command is put together first.
\set copy '\\copy region FROM ''' :data '/region.csv'' (FORMAT csv, HEADER)'
:copy
\set copy '\\copy nation FROM ''' :data '/nation.csv'' (FORMAT csv, HEADER)'
:copy
\set copy '\\copy supplier FROM ''' :data '/supplier.csv'' (FORMAT csv, HEADER)'
:copy
\set copy '\\copy customer FROM ''' :data '/customer.csv'' (FORMAT csv, HEADER)'
:copy
\set copy '\\copy part FROM ''' :data '/part.csv'' (FORMAT csv, HEADER)'
:copy
\set copy '\\copy partsupp FROM ''' :data '/partsupp.csv'' (FORMAT csv, HEADER)'
:copy
\set copy '\\copy orders FROM ''' :data '/orders.csv'' (FORMAT csv, HEADER)'
:copy
\set copy '\\copy lineitem FROM ''' :data '/lineitem.csv'' (FORMAT csv, HEADER)'
:copy
