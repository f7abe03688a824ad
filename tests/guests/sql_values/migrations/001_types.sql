CREATE TYPE mood AS ENUM ('sad', 'ok', 'NULL', 'it''s "fine", {really}');
CREATE DOMAIN price AS numeric(20, 2) CHECK (VALUE >= 0);
CREATE DOMAIN label AS text;
CREATE DOMAIN pair AS int4[];

CREATE TABLE typed (
    id int4 PRIMARY KEY,
    yes bool,
    small int2,
    large int8,
    narrow float4,
    wide float8,
    amount numeric,
    note text,
    nothing text,
    bytes bytea,
    number uuid,
    document jsonb,
    day date,
    at time,
    local timestamp,
    moment timestamptz,
    lasts interval,
    address inet,
    feeling mood,
    cost price,
    list int4[],
    notes text[]
);

CREATE TABLE numbered (n int4 CONSTRAINT numbered_once UNIQUE);
