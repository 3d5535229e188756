INSERT INTO star.flight
SELECT year * 10000 + month * 100 + day, carrier, origin, dest, tailnum, flight,
    time_hour + make_interval(mins => minute), dep_delay, arr_delay, air_time,
    round(distance * 1.609344, 1),
    CASE WHEN dep_time IS NULL THEN 'cancelled'
        WHEN arr_delay IS NULL THEN 'diverted'
        WHEN arr_delay <= 15 THEN 'on time'
        ELSE 'late' END
FROM staging.flights;
