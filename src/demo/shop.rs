//! The servers, the shop in them, and the configuration that captures it.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};

use crate::config::{Config, PostgresUrl, Secret, Source};
use crate::error::Error;
use crate::postgres::{Connection, Purpose};
use crate::redis::Client;
use crate::redis::resp::Reply;
use crate::throwaway::{Directory, Postgres, Redis, free_port, postgres, redis};

const TABLES: &str = include_str!("shop.sql");
const CONFIGURATION: &str = include_str!("shop.yaml");

const DOCUMENTS: &str = r#"{ type: json, key: "product:{sku}", decimals: number, index: [name, { category: tag }, price, sold] }"#;
const STRINGS: &str = r#"{ type: string, key: "product:{sku}" }"#;

/// A shop that is open; servers and files are gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) config: Config,
    pub(crate) file: PathBuf,
    /// Where customers come from: the owner of the tables.
    pub(crate) customers: Source,
    /// Redis has RedisJSON and RediSearch.
    pub(super) documents: bool,
    pub(super) passwords: Passwords,
    pub(super) postgres: Postgres,
    pub(super) redis: Redis,
    _directory: Directory,
}

#[derive(Debug)]
pub(super) struct Passwords {
    /// Of the role `shop`.
    pub(super) shop: SecretString,
    redis_connect: SecretString,
    pub(super) redis: SecretString,
}

impl Shop {
    /// Starts both servers and opens the shop. It blocks until they are there.
    pub(crate) fn open(runtime: &tokio::runtime::Runtime) -> Result<Shop, Error> {
        let passwords = Passwords { shop: password()?, redis_connect: password()?, redis: password()? };
        let directory = Directory::new("shop")?;
        let postgres = Postgres::start(postgres::Settings { private: true, ..Default::default() })?;
        let redis = Redis::start(redis::Settings {
            configuration: Some(format!("requirepass {}\n", passwords.redis.expose_secret())),
            unprivileged: true,
            ..Default::default()
        })?;
        directory
            .put_private("redis_connect.password", passwords.redis_connect.expose_secret())
            .and_then(|_| directory.put_private("redis.password", passwords.redis.expose_secret()))?;
        let http = free_port()?;
        let written = |product: &str| {
            let ports = [("$POSTGRES", postgres.port()), ("$REDIS", redis.port()), ("$HTTP", http)];
            let text = ports
                .iter()
                .fold(CONFIGURATION.to_owned(), |text, (name, port)| text.replace(name, &port.to_string()));
            text.replace("$DIRECTORY", &directory.path().to_string_lossy()).replace("$PRODUCT", product)
        };
        let parsed = |text: &str| Config::parse(text, "shop.yaml", &nothing);
        let mut text = written(STRINGS);
        let mut config = parsed(&text)?;
        let documents = runtime.block_on(Box::pin(has_modules(&config)))?;
        if documents {
            text = written(DOCUMENTS);
            config = parsed(&text)?;
        }
        let file = directory.put_private("shop.yaml", &text)?;
        let customers = Source {
            url: url(&format!(
                "postgresql://shop@127.0.0.1:{}/shop?sslmode=disable&application_name=shop",
                postgres.port()
            ))?,
            password: Secret::Value(passwords.shop.clone()),
            ..config.source.clone()
        };
        let shop =
            Shop { config, file, customers, documents, passwords, postgres, redis, _directory: directory };
        runtime.block_on(Box::pin(shop.furnish()))?;
        Ok(shop)
    }

    /// Roles, tables, and what the connector may do and is sent.
    async fn furnish(&self) -> Result<(), Error> {
        let Passwords { shop, redis_connect, .. } = &self.passwords;
        let (shop, redis_connect) = (shop.expose_secret(), redis_connect.expose_secret());
        // The first line is what an error shows.
        let roles = format!(
            "-- roles\nCREATE ROLE shop LOGIN PASSWORD '{shop}';
             CREATE ROLE redis_connect LOGIN REPLICATION PASSWORD '{redis_connect}'"
        );
        let mut superuser = Connection::open(&self.superuser()?, Purpose::Sql).await?;
        superuser.query(&roles).await?;
        superuser.query("CREATE DATABASE shop OWNER shop").await?;
        superuser.close().await;
        let mut owner = Connection::open(&self.customers, Purpose::Sql).await?;
        owner.query(&format!("BEGIN; {TABLES} COMMIT; ANALYZE")).await?;
        for statement in [
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO redis_connect",
            "CREATE PUBLICATION redis_connect_shop FOR TABLE customers, products, orders, order_items, carts",
        ] {
            owner.query(statement).await?;
        }
        owner.close().await;
        Ok(())
    }

    fn superuser(&self) -> Result<Source, Error> {
        let (directory, port) = (self.postgres.socket_directory().display(), self.postgres.port());
        let words = format!("host='{directory}' port={port} user=postgres dbname=postgres");
        Ok(Source { url: url(&words)?, password: Secret::None, ..self.config.source.clone() })
    }
}

async fn has_modules(config: &Config) -> Result<bool, Error> {
    let mut redis = Client::open(&config.target).await?;
    let known = redis.call(&[b"COMMAND", b"INFO", b"JSON.SET", b"FT.CREATE"]).await?;
    // Of a command that the server does not know it says nothing.
    let Reply::Array(commands) = known else { return Ok(false) };
    Ok(commands.iter().all(|command| matches!(command, Reply::Array(words) if !words.is_empty())))
}

/// 24 characters that nobody guesses.
fn password() -> Result<SecretString, Error> {
    let mut random = [0; 12];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random));
    read.map_err(|error| Error::Setting(format!("/dev/urandom can't be read: {error}")))?;
    let hexadecimal = random.iter().map(|byte| format!("{byte:02x}"));
    Ok(hexadecimal.collect::<String>().into())
}

/// Settings of the person who runs this are for other servers.
fn nothing(_: &str) -> Option<String> {
    None
}

fn url(text: &str) -> Result<PostgresUrl, Error> {
    PostgresUrl::parse(text, &nothing).map_err(|error| Error::Setting(error.to_string()))
}
