-- Stopwatt's store in ClickHouse. {DIR} is the folder of the store. `scripts/check-clickhouse.py` runs every statement.

-- Tables. Equal rows are one, so that a segment may be loaded twice.
CREATE TABLE IF NOT EXISTS stopwatt_requests
(
    received_unix_ns Int64,
    ttft_s Nullable(Float64),
    tpot_s Nullable(Float64),
    e2e_s Float64,
    upstream LowCardinality(Nullable(String)),
    variant LowCardinality(Nullable(String)),
    model LowCardinality(Nullable(String)),
    path LowCardinality(Nullable(String)),
    status UInt32,
    end LowCardinality(Nullable(String)),
    finish LowCardinality(Nullable(String)),
    committed Bool,
    streamed Bool,
    attempts UInt32,
    prompt_tokens Nullable(UInt32),
    cached_tokens Nullable(UInt32),
    tokens UInt32,
    session Nullable(UInt64),
    user Nullable(UInt64),
    template Nullable(UInt64),
    prompt_version LowCardinality(Nullable(String)),
    cost_dollars Nullable(Float64)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Nano(received_unix_ns))
ORDER BY (received_unix_ns, e2e_s, tokens, status);

CREATE TABLE IF NOT EXISTS stopwatt_samples
(
    at_unix_ns Int64,
    name LowCardinality(String),
    labels String,
    value Float64
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(fromUnixTimestamp64Nano(at_unix_ns))
ORDER BY (name, labels, at_unix_ns);

-- Loading.
INSERT INTO stopwatt_requests SELECT * FROM file('{DIR}/segments/requests-*.parquet', Parquet);

INSERT INTO stopwatt_samples SELECT * FROM file('{DIR}/segments/samples-*.parquet', Parquet);

-- As `stopwatt watch query --by upstream`: requests, availability, latency, cost.
SELECT
    upstream,
    count() AS requests,
    countIf(end = 'answered') / countIf(end != 'client_gone') AS availability,
    quantileExactInclusive(0.5)(ttft_s) AS ttft_p50_s,
    quantileExactInclusive(0.95)(ttft_s) AS ttft_p95_s,
    quantileExactInclusiveIf(0.5)(e2e_s, end = 'answered' AND status < 400) AS e2e_p50_s,
    sum(tokens) AS tokens,
    sum(cost_dollars) AS cost_dollars
FROM stopwatt_requests FINAL
GROUP BY upstream
ORDER BY requests DESC;

-- Requests a minute, and errors by kind.
SELECT
    toStartOfMinute(fromUnixTimestamp64Nano(received_unix_ns)) AS minute,
    count() AS requests,
    sumMap(map(assumeNotNull(end), toUInt64(1))) AS ends
FROM stopwatt_requests FINAL
GROUP BY minute
ORDER BY minute;

-- The queue of each upstream, as it changed.
SELECT
    fromUnixTimestamp64Nano(at_unix_ns) AS at,
    extract(labels, 'upstream="([^"]*)"') AS upstream,
    value AS waiting
FROM stopwatt_samples FINAL
WHERE name = 'stopwatt_upstream_waiting'
ORDER BY at, upstream;
