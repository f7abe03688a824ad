CREATE TABLE bench_rows (id bigserial PRIMARY KEY, name text NOT NULL);
