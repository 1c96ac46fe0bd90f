-- record that the findings are complete through a recorded_seq
INSERT INTO detections (through_seq, detection, finished_at)
SELECT {through:UInt64}, {detection:UInt16}, fromUnixTimestamp64Micro({finished_at:Int64}, 'UTC')
