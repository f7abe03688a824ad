CREATE TABLE payments (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    who text NOT NULL,
    amount bigint NOT NULL,
    approved_by text NOT NULL
);
