-- Of two processes that insert the same version of the same restatement, the first one's row enters and the other's is dropped by its token.
ALTER TABLE restatements MODIFY SETTING non_replicated_deduplication_window = 1000
