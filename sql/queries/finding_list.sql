-- findings of days in [from, to) as of a recorded_seq, each in its last revision, newest day first, then by how much money it is about
SELECT
    lower(hex(f.finding_id)) AS id, f.revision AS revision, f.state AS state, f.kind AS kind, f.dimension AS dimension, f.value AS value,
    f.day AS day, f.through AS through, f.began AS began, toString(f.cost) AS cost, toString(f.baseline) AS baseline, f.basis AS basis,
    f.reference AS reference, f.score AS score,
    f.part_name AS part_name, arrayMap(a -> toString(a), f.part_amount) AS part_amount, f.owner AS owner,
    f.mover_name AS mover_name, arrayMap(a -> toString(a), f.mover_amount) AS mover_amount,
    arrayMap(i -> toString(i), f.top_id) AS top_id, arrayMap(a -> toString(a), f.top_cost) AS top_cost,
    f.sentence AS sentence, lower(hex(f.governance)) AS governance, f.recorded_seq AS recorded_seq
FROM
(
    SELECT *
    FROM findings FINAL
    WHERE recorded_seq <= {as_of:UInt64} AND day >= {from:Date} AND day < {to:Date}
        AND (empty({kind:Array(String)}) OR kind IN {kind:Array(String)})
        AND (empty({dimension:Array(String)}) OR dimension IN {dimension:Array(String)})
        AND (empty({value:Array(String)}) OR value IN {value:Array(String)})
    ORDER BY revision DESC
    LIMIT 1 BY day, kind, dimension, value
) AS f
WHERE (empty({state:Array(String)}) OR f.state IN {state:Array(String)})
    AND (empty({owner:Array(String)}) OR f.owner IN {owner:Array(String)})
    AND (NOT {first:Bool} OR f.began = f.day)
ORDER BY f.day DESC, abs(f.cost - f.baseline) DESC, f.kind, f.dimension, f.value
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
