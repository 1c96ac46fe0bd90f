-- the watermark of a topic: the highest recorded_seq at and below which nothing can still appear
SELECT least(
    (SELECT min(last) FROM (SELECT max(recorded_seq) AS last FROM batches WHERE topic = {topic:String} GROUP BY partition)),
    (SELECT if(count() = 0, 18446744073709551615, toUInt64(min(recorded_seq) - 1)) FROM restatements FINAL WHERE state = 'open')
) AS watermark
