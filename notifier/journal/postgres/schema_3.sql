-- From version 2 to 3: the tables of single capabilities. Replicas of version 2 may go on beside
-- those of version 3.
SELECT 3;
