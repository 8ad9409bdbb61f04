SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE SCHEMA notifier;
CREATE FUNCTION notifier.tally_added() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO tallies SELECT status, count(*) FROM rows_after GROUP BY status;
    RETURN NULL;
END $$;
CREATE FUNCTION notifier.tally_changed() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO tallies
    SELECT status, sum(moved) FROM (
        SELECT status, 1 AS moved FROM rows_after UNION ALL SELECT status, -1 FROM rows_before
    ) AS moves GROUP BY status HAVING sum(moved) <> 0;
    RETURN NULL;
END $$;
CREATE FUNCTION notifier.tally_dropped() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO tallies SELECT status, -count(*) FROM rows_before GROUP BY status;
    RETURN NULL;
END $$;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE notifier.contents (
    seq bigint NOT NULL,
    content bytea NOT NULL
);
CREATE TABLE notifier.deliveries (
    seq bigint NOT NULL,
    id text NOT NULL COLLATE pg_catalog."C",
    key text NOT NULL COLLATE pg_catalog."C",
    status text NOT NULL COLLATE pg_catalog."C",
    route text NOT NULL COLLATE pg_catalog."C",
    priority smallint NOT NULL,
    channel text NOT NULL COLLATE pg_catalog."C",
    relay text COLLATE pg_catalog."C",
    created_at bigint NOT NULL,
    due_at bigint,
    expires_at bigint,
    collapse_key text COLLATE pg_catalog."C",
    finished_at bigint,
    stripped boolean DEFAULT false NOT NULL,
    lease bigint,
    claim bigint,
    said text NOT NULL COLLATE pg_catalog."C",
    record bytea NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='10000', autovacuum_analyze_scale_factor='0', autovacuum_analyze_threshold='10000');
CREATE SEQUENCE notifier.deliveries_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
CREATE TABLE notifier.idempotency (
    scope text NOT NULL COLLATE pg_catalog."C",
    key text NOT NULL COLLATE pg_catalog."C",
    fingerprint bytea NOT NULL,
    answer bytea NOT NULL,
    asked_at bigint NOT NULL,
    expires_at bigint NOT NULL
);
CREATE TABLE notifier.leases (
    id bigint NOT NULL,
    expires_at timestamp with time zone NOT NULL
);
ALTER TABLE notifier.leases ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME notifier.leases_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE notifier.tallies (
    status text NOT NULL COLLATE pg_catalog."C",
    moved bigint NOT NULL
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='5000');
CREATE TABLE notifier.terms (
    term text NOT NULL COLLATE pg_catalog."C",
    seq bigint NOT NULL
);
CREATE TABLE notifier.versions (
    version integer NOT NULL,
    made_at timestamp with time zone
);
CREATE TABLE notifier.words (
    name text NOT NULL COLLATE pg_catalog."C",
    value text NOT NULL
);
INSERT INTO notifier.contents VALUES (1, '\x636f6e74656e74');
INSERT INTO notifier.contents VALUES (2, '\x636f6e74656e74');
INSERT INTO notifier.contents VALUES (3, '\x636f6e74656e74');
INSERT INTO notifier.contents VALUES (4, '\x636f6e74656e74');
INSERT INTO notifier.deliveries VALUES (1, 'sent', 'app', 'sent', 'relay', 1, 'email', 'main', 1767268800000000, NULL, NULL, NULL, 1767268800000000, false, NULL, NULL, 'hello
app@example.org
r1
7
sent
ann@example.org
a', '\x7b226964223a2273656e74222c226368616e6e656c223a22656d61696c222c227375626a656374223a2248656c6c6f222c2273656e646572223a22617070406578616d706c652e6f7267222c22726563697069656e7473223a5b7b2261646472657373223a22616e6e406578616d706c652e6f7267222c22737461747573223a226163636570746564222c22636f6465223a3235302c227265706c79223a22323530206f6b227d5d2c2273697a65223a3130302c22637265617465645f6174223a22323032362d30312d30315431323a30303a30305a222c226475655f6174223a22323032362d30312d30315431323a30303a30305a222c22657870697265735f6174223a22323032362d30312d30335431323a30303a30305a222c22737461747573223a2273656e74222c227472696573223a312c22617474656d707473223a5b7b2272656c6179223a226d61696e222c22737461727465645f6174223a22323032362d30312d30315431323a30303a30305a222c227365636f6e6473223a302e312c227374616765223a22646f74222c227265706c79223a22323530206f6b222c22636f6465223a3235302c226163636570746564223a5b22616e6e406578616d706c652e6f7267225d2c22636f6e766572736174696f6e223a5b22433a204d41494c2046524f4d3a3c617070406578616d706c652e6f72673e222c22533a20323530206f6b225d7d5d2c2266696e69736865645f6174223a22323032362d30312d30315431323a30303a30305a222c226b6579223a22617070222c22757365725f6964223a2237222c227265666572656e6365223a227231222c2274616773223a5b2261225d7d');
INSERT INTO notifier.deliveries VALUES (2, 'held', '', 'held', 'relay', 1, 'email', NULL, 1767268800000000, NULL, NULL, NULL, NULL, false, NULL, NULL, 'hello
app@example.org
nobody can know
held
ann@example.org', '\x7b226964223a2268656c64222c226368616e6e656c223a22656d61696c222c227375626a656374223a2248656c6c6f222c2273656e646572223a22617070406578616d706c652e6f7267222c22726563697069656e7473223a5b7b2261646472657373223a22616e6e406578616d706c652e6f7267227d5d2c2273697a65223a3130302c22637265617465645f6174223a22323032362d30312d30315431323a30303a30305a222c226475655f6174223a22323032362d30312d30315431323a30303a30305a222c22657870697265735f6174223a22323032362d30312d30335431323a30303a30305a222c22737461747573223a2268656c64222c22726561736f6e223a226e6f626f64792063616e206b6e6f77227d');
INSERT INTO notifier.deliveries VALUES (3, 'deferred', '', 'deferred', 'relay', 1, 'email', 'main', 1767268800000000, 1767272400000000, 1767441600000000, NULL, NULL, false, NULL, NULL, 'hello
app@example.org
450 later
deferred
ann@example.org', '\x7b226964223a226465666572726564222c226368616e6e656c223a22656d61696c222c227375626a656374223a2248656c6c6f222c2273656e646572223a22617070406578616d706c652e6f7267222c22726563697069656e7473223a5b7b2261646472657373223a22616e6e406578616d706c652e6f7267222c22636f6465223a3435302c227265706c79223a22343530206c61746572227d5d2c2273697a65223a3130302c22637265617465645f6174223a22323032362d30312d30315431323a30303a30305a222c226475655f6174223a22323032362d30312d30315431333a30303a30305a222c22657870697265735f6174223a22323032362d30312d30335431323a30303a30305a222c22737461747573223a226465666572726564222c227472696573223a312c22617474656d707473223a5b7b2272656c6179223a226d61696e222c22737461727465645f6174223a22323032362d30312d30315431323a30303a30305a222c227365636f6e6473223a302e312c227374616765223a22646f74222c227265706c79223a22343530206c61746572222c22636f6465223a3435302c226661696c75726573223a7b22616e6e406578616d706c652e6f7267223a7b2273636f7065223a22726563697069656e74222c227065726d616e656e74223a66616c73652c227374616765223a2272637074222c227265706c79223a22343530206c61746572222c22636f6465223a3435307d7d2c22636f6e766572736174696f6e223a5b22533a20343530206c61746572225d7d5d2c22726561736f6e223a22343530206c61746572227d');
INSERT INTO notifier.deliveries VALUES (4, 'queued', '', 'queued', 'relay', 1, 'email', NULL, 1767265200000000, 1767268800000000, 1767441600000000, NULL, NULL, false, NULL, NULL, 'hello
app@example.org
queued
ann@example.org', '\x7b226964223a22717565756564222c226368616e6e656c223a22656d61696c222c227375626a656374223a2248656c6c6f222c2273656e646572223a22617070406578616d706c652e6f7267222c22726563697069656e7473223a5b7b2261646472657373223a22616e6e406578616d706c652e6f7267227d5d2c2273697a65223a3130302c22637265617465645f6174223a22323032362d30312d30315431313a30303a30305a222c226475655f6174223a22323032362d30312d30315431323a30303a30305a222c22657870697265735f6174223a22323032362d30312d30335431323a30303a30305a227d');
INSERT INTO notifier.idempotency VALUES ('app', 'k', '\x66', '\x616e73776572', 1767265200000000, 1767355200000000);
INSERT INTO notifier.tallies VALUES ('queued', 1);
INSERT INTO notifier.tallies VALUES ('queued', 1);
INSERT INTO notifier.tallies VALUES ('sending', 2);
INSERT INTO notifier.tallies VALUES ('queued', -2);
INSERT INTO notifier.tallies VALUES ('sending', -1);
INSERT INTO notifier.tallies VALUES ('sent', 1);
INSERT INTO notifier.tallies VALUES ('sending', -1);
INSERT INTO notifier.tallies VALUES ('held', 1);
INSERT INTO notifier.tallies VALUES ('queued', 1);
INSERT INTO notifier.tallies VALUES ('sending', 1);
INSERT INTO notifier.tallies VALUES ('queued', -1);
INSERT INTO notifier.tallies VALUES ('deferred', 1);
INSERT INTO notifier.tallies VALUES ('sending', -1);
INSERT INTO notifier.tallies VALUES ('queued', 1);
INSERT INTO notifier.terms VALUES ('tag:a', 1);
INSERT INTO notifier.terms VALUES ('user_id:7', 1);
INSERT INTO notifier.terms VALUES ('to:ann@example.org', 1);
INSERT INTO notifier.terms VALUES ('reference:r1', 1);
INSERT INTO notifier.terms VALUES ('to:ann@example.org', 2);
INSERT INTO notifier.terms VALUES ('to:ann@example.org', 3);
INSERT INTO notifier.terms VALUES ('to:ann@example.org', 4);
INSERT INTO notifier.versions VALUES (1, '2026-11-28 08:45:39.326199+00');
INSERT INTO notifier.words VALUES ('minute:720', '29454480 3 2 1 4');
INSERT INTO notifier.words VALUES ('paused:main', 'yes');
SELECT pg_catalog.setval('notifier.deliveries_seq', 4, true);
SELECT pg_catalog.setval('notifier.leases_id_seq', 1, true);
ALTER TABLE ONLY notifier.contents
    ADD CONSTRAINT contents_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY notifier.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (seq);
ALTER TABLE ONLY notifier.idempotency
    ADD CONSTRAINT idempotency_pkey PRIMARY KEY (scope, key);
ALTER TABLE ONLY notifier.leases
    ADD CONSTRAINT leases_pkey PRIMARY KEY (id);
ALTER TABLE ONLY notifier.terms
    ADD CONSTRAINT terms_pkey PRIMARY KEY (term, seq);
ALTER TABLE ONLY notifier.versions
    ADD CONSTRAINT versions_pkey PRIMARY KEY (version);
ALTER TABLE ONLY notifier.words
    ADD CONSTRAINT words_pkey PRIMARY KEY (name);
CREATE INDEX deliveries_bodies ON notifier.deliveries USING btree (finished_at) WHERE ((finished_at IS NOT NULL) AND (NOT stripped));
CREATE INDEX deliveries_collapse ON notifier.deliveries USING btree (collapse_key, key) WHERE (collapse_key IS NOT NULL);
CREATE INDEX deliveries_created ON notifier.deliveries USING btree (created_at);
CREATE INDEX deliveries_due ON notifier.deliveries USING btree (route, priority, key, due_at, seq) WHERE (due_at IS NOT NULL);
CREATE INDEX deliveries_expiry ON notifier.deliveries USING btree (expires_at) WHERE (expires_at IS NOT NULL);
CREATE INDEX deliveries_finished ON notifier.deliveries USING btree (finished_at) WHERE (finished_at IS NOT NULL);
CREATE UNIQUE INDEX deliveries_id ON notifier.deliveries USING btree (id);
CREATE INDEX deliveries_key ON notifier.deliveries USING btree (key, seq) WHERE (key <> ''::text);
CREATE INDEX deliveries_status ON notifier.deliveries USING btree (status, seq) WHERE (status <> 'sent'::text);
CREATE INDEX idempotency_expiry ON notifier.idempotency USING btree (expires_at);
CREATE TRIGGER tally_added AFTER INSERT ON notifier.deliveries REFERENCING NEW TABLE AS rows_after FOR EACH STATEMENT EXECUTE FUNCTION notifier.tally_added();
CREATE TRIGGER tally_changed AFTER UPDATE ON notifier.deliveries REFERENCING OLD TABLE AS rows_before NEW TABLE AS rows_after FOR EACH STATEMENT EXECUTE FUNCTION notifier.tally_changed();
CREATE TRIGGER tally_dropped AFTER DELETE ON notifier.deliveries REFERENCING OLD TABLE AS rows_before FOR EACH STATEMENT EXECUTE FUNCTION notifier.tally_dropped();
