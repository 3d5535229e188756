ALTER TABLE star.day ADD PRIMARY KEY (day_key);
ALTER TABLE star.carrier ADD PRIMARY KEY (carrier_key);
ALTER TABLE star.airport ADD PRIMARY KEY (airport_key);
ALTER TABLE star.plane ADD PRIMARY KEY (plane_key);
ALTER TABLE star.weather ADD PRIMARY KEY (airport_key, at);

ALTER TABLE star.weather ADD FOREIGN KEY (airport_key) REFERENCES star.airport;
ALTER TABLE star.flight ADD FOREIGN KEY (day_key) REFERENCES star.day;
ALTER TABLE star.flight ADD FOREIGN KEY (carrier_key) REFERENCES star.carrier;
ALTER TABLE star.flight ADD FOREIGN KEY (origin_key) REFERENCES star.airport;
ALTER TABLE star.flight ADD FOREIGN KEY (destination_key) REFERENCES star.airport;
ALTER TABLE star.flight ADD FOREIGN KEY (plane_key) REFERENCES star.plane;

CREATE INDEX ON star.flight (day_key);
CREATE INDEX ON star.flight (plane_key);
CREATE INDEX ON star.flight (origin_key, scheduled);
CREATE INDEX ON star.flight (destination_key, carrier_key);
