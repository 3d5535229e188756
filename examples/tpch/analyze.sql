-- Statistics for the queries; one statement for each table, so that they are independent.
ANALYZE region;
ANALYZE nation;
ANALYZE supplier;
ANALYZE customer;
ANALYZE part;
ANALYZE partsupp;
ANALYZE orders;
ANALYZE lineitem;
