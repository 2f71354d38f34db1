//! How to look at the shop while it is captured, in lines that can be pasted.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;

use super::Shop;

const TO_TRY: &str = "
To try in psql:
  UPDATE customers SET name = 'You', email = NULL WHERE id = 1;
  UPDATE products SET category = 'clearance' WHERE sku = 'SKU-001';
and in redis-cli:
  HGETALL customer:1
  SMEMBERS category:clearance
  ZREVRANGE bestsellers 0 4 WITHSCORES
  XREAD BLOCK 0 STREAMS orders $
";

const DOCUMENTS: &str = "  \
  JSON.GET product:SKU-001
  FT.SEARCH idx:products '@price:[0 9]' LIMIT 0 3
";

const STRINGS: &str = "  \
  GET product:SKU-001

This Redis has no RedisJSON and RediSearch, so products are strings that hold JSON.
";

impl Shop {
    /// What runs, where it is, and what can be tried.
    pub(crate) fn guide(&self) -> String {
        let (postgres, redis) = (self.postgres.port(), self.redis.port());
        let server = self.redis.program();
        let mut text = format!(
            "PostgreSQL {} on port {postgres}, {} on port {redis}, a shop in them:\n\n",
            self.postgres.version(),
            server.file_name().unwrap_or_default().display()
        );
        let mut line = |name: &str, what: String| {
            let _ = writeln!(text, "  {name:10} {what}");
        };
        if let Some(http) = &self.config.http {
            line("dashboard", format!("http://{}/", http.listen));
        }
        let (psql, password) = (tool(&self.postgres.program("psql")), self.passwords.shop.expose_secret());
        line("psql", format!("PGPASSWORD={password} {psql} -h 127.0.0.1 -p {postgres} -U shop shop"));
        let (cli, password) = (tool(&client_beside(server)), self.passwords.redis.expose_secret());
        line("redis-cli", format!("REDISCLI_AUTH={password} {cli} -h 127.0.0.1 -p {redis}"));
        let program = std::env::current_exe().unwrap_or_else(|_| "redis-connect-postgres".into());
        let (program, file) = (tool(&program), word(&self.file));
        line("status", format!("{program} status -c {file}"));
        line("verify", format!("{program} verify -c {file}"));
        line("mapping", format!("cat {file}"));
        text.push_str(TO_TRY);
        text.push_str(if self.documents { DOCUMENTS } else { STRINGS });
        text
    }
}

/// `valkey-cli` for `valkey-server`, `redis-cli` for all others.
fn client_beside(server: &Path) -> PathBuf {
    let name = server.file_name().unwrap_or_default().to_string_lossy();
    server.with_file_name(if name.contains("valkey") { "valkey-cli" } else { "redis-cli" })
}

/// Its name where `PATH` has it, else where it is.
fn tool(program: &Path) -> String {
    let name = Path::new(program.file_name().unwrap_or_default());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(name).is_file());
    word(if found || !program.is_file() { name } else { program })
}

/// One word of a shell's command line.
fn word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,=".contains(c);
    if text.chars().all(plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_can_be_pasted() {
        assert_eq!(word(Path::new("/tmp/shop-1/shop.yaml")), "/tmp/shop-1/shop.yaml");
        assert_eq!(word(Path::new("/tmp/it's $here")), r"'/tmp/it'\''s $here'");
    }

    #[test]
    fn a_client_is_of_its_servers_kind() {
        assert_eq!(client_beside(Path::new("/opt/bin/valkey-server")), Path::new("/opt/bin/valkey-cli"));
        assert_eq!(client_beside(Path::new("/usr/bin/redis-server")), Path::new("/usr/bin/redis-cli"));
    }
}
