-- through which recorded_seq the rollups hold the ledger, and the findings the rollups: by this version of the detectors, by any
SELECT
    ifNull((SELECT through_seq FROM rollups WHERE state = 'finished' ORDER BY through_seq DESC LIMIT 1), 0) AS rollups,
    (SELECT max(through_seq) FROM detections WHERE detection = {detection:UInt16}) AS detected,
    (SELECT max(through_seq) FROM detections) AS newest,
    -- whole cells only: read from the bounds of the parts. 1970: there are none
    (SELECT toDate(min(cell)) FROM cells) AS first,
    (SELECT toDate(max(cell)) FROM cells) AS last
