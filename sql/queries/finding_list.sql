-- findings of days in [from, to) as of a recorded_seq, each in its last revision, newest day first, then by how much money it is about
-- part_of is said of what stands as of then: anomalies of a day that one use case makes at least half of are one thing, and told by the
-- most telling of them.
WITH latest AS
(
    SELECT *, lower(hex(finding_id)) AS id, cost - baseline AS change
    FROM findings FINAL
    WHERE recorded_seq <= {as_of:UInt64} AND day >= {from:Date} AND day < {to:Date}
    ORDER BY revision DESC
    LIMIT 1 BY day, kind, dimension, value
),
sided AS
(
    SELECT
        *, change > 0 AS up,
        kind = 'anomaly' AND state = 'open' AND (dimension = 'use_case' OR notEmpty(mover_name) AND 2 * abs(mover_amount[1]) >= abs(change)) AS has_part,
        multiIf(NOT has_part, '', dimension = 'use_case', value, mover_name[1]) AS part
    FROM latest
)
SELECT
    f.id AS id, f.revision AS revision, f.state AS state, f.kind AS kind, f.dimension AS dimension, f.value AS value,
    f.day AS day, f.through AS through, f.began AS began, if(o.id = f.id, '', o.id) AS part_of, toString(f.cost) AS cost, toString(f.baseline) AS baseline, f.basis AS basis,
    f.reference AS reference, f.score AS score,
    f.part_name AS part_name, arrayMap(a -> toString(a), f.part_amount) AS part_amount, f.owner AS owner,
    f.mover_name AS mover_name, arrayMap(a -> toString(a), f.mover_amount) AS mover_amount,
    arrayMap(i -> toString(i), f.top_id) AS top_id, arrayMap(a -> toString(a), f.top_cost) AS top_cost,
    f.sentence AS sentence, lower(hex(f.governance)) AS governance, f.recorded_seq AS recorded_seq
FROM sided AS f
LEFT JOIN
(
    SELECT day, part, up, argMin(id, indexOf(['use_case', 'user', 'project', 'application', 'team', 'model', 'provider', 'business_unit'], dimension)) AS id
    FROM sided
    WHERE has_part
    GROUP BY day, part, up
) AS o ON o.day = f.day AND o.part = f.part AND o.up = f.up AND f.has_part
WHERE (empty({kind:Array(String)}) OR f.kind IN {kind:Array(String)})
    AND (empty({dimension:Array(String)}) OR f.dimension IN {dimension:Array(String)})
    AND (empty({value:Array(String)}) OR f.value IN {value:Array(String)})
    AND (empty({state:Array(String)}) OR f.state IN {state:Array(String)})
    AND (empty({owner:Array(String)}) OR f.owner IN {owner:Array(String)})
    AND (NOT {first:Bool} OR f.began = f.day AND part_of = '')
ORDER BY f.day DESC, abs(f.change) DESC, f.kind, f.dimension, f.value
LIMIT {limit:UInt64} OFFSET {offset:UInt64}
