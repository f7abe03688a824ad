-- The transaction in which a migration of an app is being applied, until it is known what became of it.
--
-- The file runs on the app's own login, which may not write here, so the note about it is another transaction's, and must
-- be there before the commit of the file. Null: the file was applied. As text, since no client knows xid8.
ALTER TABLE dbos_host.app_migration ADD COLUMN transaction text;
