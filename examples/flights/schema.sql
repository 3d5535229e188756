-- Staging tables as the files are, and a star: flights around days, carriers, airports and planes.
CREATE SCHEMA staging;
CREATE TABLE staging.airlines (carrier text, name text);
CREATE TABLE staging.airports (
    faa text, name text, lat double precision, lon double precision,
    alt integer, tz integer, dst text, tzone text
);
CREATE TABLE staging.planes (
    tailnum text, year integer, type text, manufacturer text, model text,
    engines integer, seats integer, speed integer, engine text
);
CREATE TABLE staging.weather (
    origin text, year integer, month integer, day integer, hour integer,
    temp numeric, dewp numeric, humid numeric, wind_dir integer, wind_speed numeric,
    wind_gust numeric, precip numeric, pressure numeric, visib numeric, time_hour timestamptz
);
CREATE UNLOGGED TABLE staging.flights (
    year integer, month integer, day integer, dep_time integer, sched_dep_time integer,
    dep_delay integer, arr_time integer, sched_arr_time integer, arr_delay integer,
    carrier text, flight integer, tailnum text, origin text, dest text, air_time integer,
    distance integer, hour integer, minute integer, time_hour timestamptz
);

CREATE SCHEMA star;
CREATE TABLE star.day (
    day_key integer NOT NULL, day date NOT NULL, year integer NOT NULL, month integer NOT NULL,
    weekday integer NOT NULL, is_weekend boolean NOT NULL
);
CREATE TABLE star.carrier (carrier_key text NOT NULL, name text NOT NULL);
CREATE TABLE star.airport (
    airport_key text NOT NULL, name text NOT NULL, lat double precision, lon double precision,
    altitude_m integer, tzone text
);
CREATE TABLE star.plane (
    plane_key text NOT NULL, built integer, type text, manufacturer text, model text,
    seats integer, engine text
);
CREATE TABLE star.weather (
    airport_key text NOT NULL, at timestamptz NOT NULL, celsius numeric, wind_kmh numeric,
    rain_mm numeric, visibility_km numeric
);
CREATE TABLE star.flight (
    day_key integer NOT NULL, carrier_key text NOT NULL, origin_key text NOT NULL,
    destination_key text NOT NULL, plane_key text, number integer NOT NULL,
    scheduled timestamptz NOT NULL, departed_late integer, arrived_late integer,
    air_minutes integer, distance_km numeric NOT NULL, state text NOT NULL
);
