CREATE TABLE stock (
    item text PRIMARY KEY,
    free integer NOT NULL CHECK (free >= 0)
);
INSERT INTO stock (item, free) VALUES ('lamp', 10), ('piano', 2);
