-- What the connector logs in as: it may read the tables and the log, and nothing else.
\getenv password REDIS_CONNECT_PASSWORD
CREATE ROLE redis_connect LOGIN REPLICATION PASSWORD :'password';
GRANT USAGE ON SCHEMA hr, shop TO redis_connect;
GRANT SELECT ON ALL TABLES IN SCHEMA hr, shop TO redis_connect;
CREATE PUBLICATION redis_connect_shop FOR ALL TABLES WITH (publish_via_partition_root = true);
