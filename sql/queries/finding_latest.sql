-- through which recorded_seq findings are complete; 0 before the first run of the detectors
SELECT max(through_seq) AS through FROM detections
