//! The configuration as it holds, with every default, in the form of the file: for people who ask a running process
//! what it does. What is secret is shown as `***`.

use serde_json::{Map, Value, json};

use super::output::{BINARY, DECIMALS, NULLS, TIMESTAMPS};
use super::structure::{FORMATS, INDEX_TYPES};
use super::target::VERIFY;
use super::{
    Columns, Config, Durability, Http, Index, ON_GAP, Output, Secret, Source, Structure, TableRule, Target,
    Tls,
};

const HIDDEN: &str = "***";

impl Config {
    /// Every setting with its value, without secrets.
    pub fn effective(&self) -> Value {
        let mut all = json!({
            "name": self.name,
            "source": source(&self.source),
            "target": target(&self.target),
            "snapshot": { "workers": self.snapshot.workers, "range_rows": self.snapshot.range_rows },
            "on_gap": word(ON_GAP, &self.on_gap),
            "dlq": { "max": self.dlq.max },
        });
        match self.target.durability {
            Durability::Memory => {}
            Durability::Replicas(count) => all["durability"] = json!({ "wait": count }),
            Durability::AppendOnly(count) => all["durability"] = json!({ "waitaof": count }),
        }
        if let Some(given) = &self.http {
            all["http"] = http(given);
        }
        let rules = self.tables.iter().map(|rule| (rule.pattern.to_string(), outputs(rule)));
        let tables: Map<String, Value> = match self.tables.is_empty() {
            true => [("*.*".to_owned(), output(&self.plain))].into_iter().collect(),
            false => rules.collect(),
        };
        all["tables"] = tables.into();
        all
    }
}

fn word<T: PartialEq>(words: &'static [(&'static str, T)], meaning: &T) -> &'static str {
    words.iter().find(|(_, found)| found == meaning).map_or("", |(word, _)| word)
}

fn seconds(duration: std::time::Duration) -> Value {
    format!("{}ms", duration.as_millis()).into()
}

fn secret(object: &mut Value, (value, file): (&str, &str), secret: &Secret) {
    match secret {
        Secret::None => {}
        Secret::Value(_) => object[value] = HIDDEN.into(),
        Secret::File(path) => object[file] = path.display().to_string().into(),
    }
}

fn source(source: &Source) -> Value {
    let mut shown = json!({
        "url": source.url.to_string(),
        "slot": source.slot,
        "publication": source.publication,
        "retain": seconds(source.retain),
        "retain_bytes": source.retain_bytes,
    });
    secret(&mut shown, ("password", "password_file"), &source.password);
    shown
}

fn target(target: &Target) -> Value {
    let mut shown = json!({
        "url": target.url.to_string(),
        "batch": { "rows": target.batch.rows, "bytes": target.batch.bytes },
    });
    secret(&mut shown, ("password", "password_file"), &target.password);
    if target.tls != Tls::default() {
        shown["tls"] = tls(&target.tls);
    }
    let sentinel = &target.sentinel;
    let mut asked = json!({});
    if let Some(username) = &sentinel.username {
        asked["username"] = username.as_str().into();
    }
    if let Some(tls) = sentinel.tls {
        asked["tls"] = tls.into();
    }
    secret(&mut asked, ("password", "password_file"), &sentinel.password);
    if asked.as_object().is_some_and(|asked| !asked.is_empty()) {
        shown["sentinel"] = asked;
    }
    shown
}

fn tls(tls: &Tls) -> Value {
    let mut shown = json!({ "verify": word(VERIFY, &tls.verify) });
    if let Some(file) = &tls.ca_file {
        shown["ca_file"] = file.display().to_string().into();
    }
    if let Some((certificate, key)) = &tls.identity {
        shown["cert_file"] = certificate.display().to_string().into();
        shown["key_file"] = key.display().to_string().into();
    }
    if let Some(name) = &tls.server_name {
        shown["server_name"] = name.as_str().into();
    }
    shown
}

fn http(http: &Http) -> Value {
    let mut shown = json!({ "listen": http.listen.to_string(), "max_lag": seconds(http.max_lag) });
    secret(&mut shown, ("token", "token_file"), &http.token);
    if let Some((certificate, key)) = &http.tls {
        shown["tls"] =
            json!({ "cert_file": certificate.display().to_string(), "key_file": key.display().to_string() });
    }
    shown
}

fn outputs(rule: &TableRule) -> Value {
    match rule.outputs.as_slice() {
        [one] => output(one),
        several => several.iter().map(output).collect(),
    }
}

fn output(output: &Output) -> Value {
    let kind = output.structure.kind();
    let values = &output.values;
    let mut shown = json!({
        "type": kind.name(),
        "key": output.key.to_string(),
        "timestamps": word(TIMESTAMPS, &values.timestamps),
        "binary": word(BINARY, &values.binary),
        "decimals": word(DECIMALS, &values.decimals),
    });
    // Where templates say what is written, there is no such option.
    let templates = matches!(
        output.structure,
        Structure::Set { .. } | Structure::SortedSet { .. } | Structure::String { value: Some(_) }
    );
    if !templates {
        shown["nulls"] = word(NULLS, &values.nulls).into();
    }
    if let Some(ttl) = output.ttl {
        shown["ttl"] = seconds(ttl);
    }
    match &output.columns {
        Columns::All => {}
        Columns::Except(names) => shown["exclude"] = names.clone().into(),
        Columns::Only(names) => {
            let name = |(column, name): &(String, String)| match column == name {
                true => Value::from(column.as_str()),
                false => json!({ column: name }),
            };
            shown["columns"] = names.iter().map(name).collect();
        }
    }
    match &output.structure {
        Structure::Hash { index } | Structure::Json { index } => {
            if let Some(index) = index {
                shown["index"] = self::index(index);
            }
        }
        Structure::String { value } => {
            if let Some(value) = value {
                shown["value"] = value.to_string().into();
            }
        }
        Structure::Set { member } => shown["member"] = member.to_string().into(),
        Structure::SortedSet { member, score } => {
            shown["member"] = member.to_string().into();
            shown["score"] = score.to_string().into();
        }
        Structure::Stream { format, max_len } => {
            shown["format"] = word(FORMATS, format).into();
            if let Some(max_len) = max_len {
                shown["max_len"] = (*max_len).into();
            }
        }
    }
    shown
}

fn index(index: &Index) -> Value {
    match index {
        Index::All => true.into(),
        Index::Only(columns) => columns
            .iter()
            .map(|(column, kind)| match kind {
                None => Value::from(column.as_str()),
                Some(kind) => json!({ column: word(INDEX_TYPES, kind) }),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Config {
        Config::parse(text, "test.yaml", &|_| None).unwrap()
    }

    const EVERYTHING: &str = r#"
name: hr
source: { url: "postgresql://repl:hidden@db.example/hr?sslmode=verify-full", slot: s, publication: p, retain: 5s }
target:
  url: "rediss-sentinel://app:hidden@a:1,b:2/main/3"
  tls: { ca_file: /ca.pem, verify: ca, cert_file: /c.pem, key_file: /k.pem, server_name: redis.example }
  sentinel: { username: u, password: hidden, tls: true }
  batch: { rows: 5, bytes: 2kB }
durability: { wait: 2 }
on_gap: fail
http:
  listen: 0.0.0.0:9000
  token: hidden
  tls: { cert_file: /c.pem, key_file: /k.pem }
tables:
  public.emp: { type: hash, exclude: [ssn], ttl: 1h, index: true }
  public.dept:
    - { type: json, key: "d:{id}", columns: [id, { dname: name }], index: [id, { dname: tag }], decimals: number }
    - { type: set, key: "s:{id}", member: "{id}" }
    - { type: sorted_set, key: z, member: "{id}", score: "{id}", timestamps: epoch_ms }
    - { type: string, value: "{id} {{}" }
    - { type: string, key: "t:{id}", nulls: empty }
    - { type: stream, format: debezium, max_len: 100, binary: hex }
  sales.*: { type: hash }
"#;

    #[test]
    fn what_is_shown_means_the_same() {
        for text in [EVERYTHING, "{ source: { url: postgresql://u@h/d }, target: { url: redis://h } }"] {
            let shown = parse(text).effective();
            assert_eq!(parse(&shown.to_string()).effective(), shown);
        }
    }

    #[test]
    fn no_secret_is_shown() {
        let shown = parse(EVERYTHING).effective();
        assert!(!shown.to_string().contains("hidden"), "{shown}");
        assert_eq!(shown["source"]["password"], HIDDEN);
        assert_eq!(shown["http"]["token"], HIDDEN);
        assert_eq!(shown["target"]["batch"]["bytes"], 2000);
    }
}
