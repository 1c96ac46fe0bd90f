-- a governance snapshot by its digest
SELECT archive FROM snapshots WHERE digest = {digest:FixedString(32)} LIMIT 1
