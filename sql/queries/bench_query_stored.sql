-- how much there is to ask about
SELECT (SELECT count() FROM charges) AS entries, (SELECT count() FROM cells) AS cells, (SELECT count() FROM user_days) AS user_days,
    (SELECT max(next_offset) FROM batches WHERE topic = {topic:String}) AS requests,
    (SELECT max(newest) FROM batches WHERE topic = {topic:String}) AS newest
