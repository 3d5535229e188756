-- Airports and planes that only the flights know get a row as well, so that every key has one.
INSERT INTO star.day
SELECT to_char(day, 'YYYYMMDD')::integer, day, extract(year FROM day), extract(month FROM day),
    extract(isodow FROM day), extract(isodow FROM day) > 5
FROM (
    SELECT generate_series(min(make_date(year, month, day)), max(make_date(year, month, day)),
        interval '1 day')::date AS day
    FROM staging.flights
) AS days;

INSERT INTO star.carrier
SELECT carrier, name FROM staging.airlines;

INSERT INTO star.airport
SELECT faa, name, lat, lon, round(alt * 0.3048), tzone FROM staging.airports;
INSERT INTO star.airport
SELECT DISTINCT dest, 'unknown: ' || dest, NULL::double precision, NULL::double precision,
    NULL::integer, NULL
FROM staging.flights
WHERE NOT EXISTS (SELECT FROM staging.airports WHERE faa = dest);

INSERT INTO star.plane
SELECT tailnum, year, type, manufacturer, model, seats, engine FROM staging.planes;
INSERT INTO star.plane (plane_key)
SELECT DISTINCT tailnum FROM staging.flights AS f
WHERE tailnum IS NOT NULL
    AND NOT EXISTS (SELECT FROM staging.planes AS p WHERE p.tailnum = f.tailnum);

INSERT INTO star.weather
SELECT origin, time_hour, avg(round((temp - 32) / 1.8, 1)), max(round(wind_speed * 1.609344, 1)),
    sum(round(precip * 25.4, 1)), min(round(visib * 1.609344, 1))
FROM staging.weather
GROUP BY origin, time_hour;
