-- Applied once by `dbos-host migrate`, in a transaction. Later changes go into files of their own behind this one.
CREATE TABLE visits (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    greeting text NOT NULL
);
