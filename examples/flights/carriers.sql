-- How punctual was each airline that left New York in January 2013? Delays are in minutes.
-- A flight without a departure time was cancelled. Delays are those of the flights that arrived.

CREATE EXTERNAL TABLE flights (
    year           SMALLINT NOT NULL,
    month          SMALLINT NOT NULL,
    day            SMALLINT NOT NULL,
    dep_time       SMALLINT,            -- local time, hhmm: 517 is 5:17
    sched_dep_time SMALLINT NOT NULL,
    dep_delay      INT,
    arr_time       SMALLINT,
    sched_arr_time SMALLINT NOT NULL,
    arr_delay      INT,
    carrier        VARCHAR NOT NULL,
    flight         INT NOT NULL,
    tailnum        VARCHAR,
    origin         VARCHAR NOT NULL,
    dest           VARCHAR NOT NULL,
    air_time       INT,
    distance       INT NOT NULL         -- miles
)
STORED AS CSV
LOCATION 'flights-2013-01.csv'
OPTIONS ('format.has_header' 'true');

CREATE VIEW punctuality AS
SELECT
    carrier,
    count(*) AS flights,
    round(avg(arr_delay), 1) AS mean,
    round(percentile_cont(0.9) WITHIN GROUP (ORDER BY arr_delay), 1) AS p90,
    count(*) FILTER (WHERE dep_time IS NULL) AS cancelled
FROM flights
GROUP BY carrier;

-- job: by_carrier
COPY (SELECT * FROM punctuality ORDER BY flights DESC, carrier) TO 'carriers/' STORED AS PARQUET;

-- job: report
SELECT * FROM punctuality ORDER BY flights DESC, carrier;
