-- the batch of the chunk, of which the first {duplicates} are deliveries once more; written last
INSERT INTO batches (topic, partition, first_offset, next_offset, events, duplicates, quarantined, days, newest, recorded_seq)
SELECT {topic:String}, 0, min(number) + {duplicates:UInt64}, max(number) + 1, count() - {duplicates:UInt64}, {duplicates:UInt64}, 0,
    groupUniqArray(toDate(time)), max(time), {recorded_seq:UInt64}
FROM bench_calls
