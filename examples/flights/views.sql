CREATE SCHEMA report;
CREATE VIEW report.flown AS
SELECT f.*, d.day, d.month, d.is_weekend, p.manufacturer, p.seats, d.year - p.built AS plane_years
FROM star.flight AS f
JOIN star.day AS d USING (day_key)
LEFT JOIN star.plane AS p USING (plane_key)
WHERE f.state IN ('on time', 'late');
COMMENT ON VIEW report.flown IS 'Flights that arrived, with their day and their plane';

CREATE VIEW report.flight_weather AS
SELECT f.day_key, f.carrier_key, f.origin_key, f.state, f.departed_late, w.wind_kmh, w.rain_mm,
    w.visibility_km
FROM star.flight AS f
JOIN star.weather AS w ON w.airport_key = f.origin_key AND w.at = date_trunc('hour', f.scheduled);
