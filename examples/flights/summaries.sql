-- Sums and averages are of integers and numeric: they are the same in any order.
CREATE MATERIALIZED VIEW report.carrier_month AS
SELECT c.name AS carrier, f.month, count(*) AS flights, sum(f.seats) AS seats,
    round(avg(f.arrived_late), 2) AS late_minutes, round(avg(f.plane_years), 2) AS plane_years
FROM report.flown AS f
JOIN star.carrier AS c USING (carrier_key)
GROUP BY c.name, f.month;

CREATE MATERIALIZED VIEW report.route AS
SELECT o.name AS origin, d.name AS destination, count(*) AS flights,
    count(DISTINCT f.carrier_key) AS carriers, max(f.distance_km) AS distance_km,
    percentile_disc(0.9) WITHIN GROUP (ORDER BY f.arrived_late) AS late_minutes_of_nine_in_ten
FROM star.flight AS f
JOIN star.airport AS o ON o.airport_key = f.origin_key
JOIN star.airport AS d ON d.airport_key = f.destination_key
GROUP BY o.name, d.name;

CREATE MATERIALIZED VIEW report.bad_weather AS
SELECT origin_key, rain_mm > 0 AS rains, wind_kmh > 30 AS blows, visibility_km < 3 AS foggy,
    count(*) AS flights, count(*) FILTER (WHERE state = 'cancelled') AS cancelled,
    round(avg(departed_late), 2) AS late_minutes
FROM report.flight_weather
GROUP BY 1, 2, 3, 4;

-- How each plane's delay came about: what it was late when it took off the last time.
CREATE TABLE report.rotation AS
SELECT plane_key, scheduled, origin_key, departed_late,
    lag(arrived_late) OVER (PARTITION BY plane_key ORDER BY scheduled, number) AS arrived_late_before
FROM star.flight
WHERE plane_key IS NOT NULL AND state <> 'cancelled';

CREATE UNIQUE INDEX ON report.carrier_month (carrier, month);
CREATE UNIQUE INDEX ON report.route (origin, destination);
CREATE INDEX ON report.rotation (plane_key, scheduled);

CREATE MATERIALIZED VIEW report.carrier_year AS
SELECT carrier, sum(flights) AS flights, max(late_minutes) AS late_minutes_of_the_worst_month
FROM report.carrier_month
GROUP BY carrier;
