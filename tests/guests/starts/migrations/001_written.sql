CREATE TABLE written (text text NOT NULL);
