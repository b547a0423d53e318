-- What a user's folders may take, in MiB; 0 is no limit, null as the settings say.
ALTER TABLE limits ADD COLUMN disk_limit INTEGER CHECK (disk_limit >= 0);
