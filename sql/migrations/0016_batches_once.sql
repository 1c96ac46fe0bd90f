-- Of two processes that let a batch follow the same one of a partition, the first one's row enters and the other's is dropped by its token.
ALTER TABLE batches MODIFY SETTING non_replicated_deduplication_window = 10000
