-- record revisions of findings
INSERT INTO findings (kind, dimension, value, day, revision, finding_id, state, through, began, cost, baseline, basis, reference, score, part_name, part_amount, owner, mover_name, mover_amount, top_id, top_cost, sentence, governance, recorded_seq)
SELECT
    kind, dimension, value, day, revision, finding_id, state, through, began, toDecimal128(cost, 12), toDecimal128(baseline, 12), basis, reference,
    toFloat64(score), part_name, arrayMap(a -> toDecimal128(a, 12), part_amount), owner, mover_name, arrayMap(a -> toDecimal128(a, 12), mover_amount),
    arrayMap(i -> toUUID(i), top_id), arrayMap(a -> toDecimal128(a, 12), top_cost), sentence, governance, recorded_seq
FROM revisions
