CREATE TABLE effects (
    run text NOT NULL,
    step text NOT NULL
);
