use super::{AuthMethod, PostgresHost, PostgresUrl, RootCert, SslMode};
use proptest::prelude::*;
use secrecy::ExposeSecret as _;
use std::time::Duration;

fn env(name: &str) -> Option<String> {
    (name == "PGUSER").then(|| "me".to_owned())
}

fn parse(text: &str) -> PostgresUrl {
    PostgresUrl::parse(text, &env).unwrap()
}

#[test]
fn urls_and_how_they_display() {
    for (typed, shown) in [
        (
            "postgresql://repl@db.example:5432/hr?sslmode=verify-full",
            "postgresql://repl@db.example:5432/hr?sslmode=verify-full",
        ),
        ("postgres://u:hunter2@h/d", "postgresql://u@h:5432/d"),
        ("postgresql://h", "postgresql://me@h:5432/me"),
        ("postgresql://u@h/", "postgresql://u@h:5432/u"),
        ("postgresql:///d", "postgresql://me@%2Fvar%2Frun%2Fpostgresql:5432/d"),
        ("postgresql://:7/d", "postgresql://me@%2Fvar%2Frun%2Fpostgresql:7/d"),
        ("postgresql://u@a:1,b:2/d", "postgresql://u@a:1,b:2/d"),
        ("postgresql://u@a,b:2/d", "postgresql://u@a:5432,b:2/d"),
        ("postgresql://u@[::1]:7/d", "postgresql://u@[::1]:7/d"),
        ("postgresql://u@%2Ftmp/d", "postgresql://u@%2Ftmp:5432/d"),
        ("postgresql:///d?host=/tmp&port=7&user=u", "postgresql://u@%2Ftmp:7/d"),
        ("postgresql://a:1/d?host=b,c&port=7", "postgresql://me@b:7,c:7/d"),
        ("postgresql://u%40x:p@h/a%2Fb", "postgresql://u%40x@h:5432/a%2Fb"),
        ("postgresql://u@h/größe", "postgresql://u@h:5432/gr%C3%B6%C3%9Fe"),
        (
            "postgresql://u@h/d?sslrootcert=system",
            "postgresql://u@h:5432/d?sslmode=verify-full&sslrootcert=system",
        ),
        ("postgresql://u@h/d?ssl=true", "postgresql://u@h:5432/d?sslmode=require"),
        (
            "postgresql://u@h/d?keepalives=1&gssencmode=prefer&target_session_attrs=any&sslmode=",
            "postgresql://u@h:5432/d",
        ),
        ("host=h dbname=d user=u", "postgresql://u@h:5432/d"),
        (r" host = ::1  dbname='my \'db\\' password=a\ b user=u ", "postgresql://u@[::1]:5432/my%20%27db%5C"),
        ("host=h dbname=:// user=u", "postgresql://u@h:5432/%3A%2F%2F"),
        ("host=/tmp port=7 dbname=", "postgresql://me@%2Ftmp:7/me"),
    ] {
        assert_eq!(parse(typed).to_string(), shown, "{typed}");
        assert_eq!(parse(shown).to_string(), shown);
    }
}

#[test]
fn parts() {
    let url = parse(
        "postgresql://u:p%2Fw@a:1,%2Fs/d?sslmode=verify-ca&sslrootcert=/ca.pem&sslcert=/c&sslkey=/k&connect_timeout=5&application_name=x%20y",
    );
    assert_eq!(
        url.hosts,
        [
            PostgresHost::Tcp { host: "a".into(), port: 1 },
            PostgresHost::Unix { dir: "/s".into(), port: 5432 }
        ]
    );
    assert_eq!((url.user.as_str(), url.dbname.as_str()), ("u", "d"));
    assert_eq!(url.password.as_ref().unwrap().expose_secret(), "p/w");
    assert_eq!(url.sslmode, SslMode::VerifyCa);
    assert_eq!(url.sslrootcert, Some(RootCert::File("/ca.pem".into())));
    assert_eq!(url.sslcert, Some("/c".into()));
    assert_eq!(url.sslkey, Some("/k".into()));
    assert_eq!(url.connect_timeout, Some(Duration::from_secs(5)));
    assert_eq!(url.application_name.as_deref(), Some("x y"));
    assert_eq!(parse("postgresql://h").sslmode, SslMode::Prefer);
    assert_eq!(parse("postgresql://h?connect_timeout=0").connect_timeout, None);
    let named = parse("postgresql://h?fallback_application_name=f");
    assert_eq!(named.application_name.as_deref(), Some("f"));
    let words = parse(r"host=h password='p\' w'");
    assert_eq!(words.password.unwrap().expose_secret(), "p' w");
}

#[test]
fn without_a_name_the_user_is_that_of_the_system() {
    if let Ok(url) = PostgresUrl::parse("postgresql://h", &|_| None) {
        assert!(!url.user.is_empty());
        assert_eq!(url.user, url.dbname);
    }
}

#[test]
fn errors() {
    let mut wrong = String::new();
    for (typed, expected) in [
        ("", "it does not begin with postgresql:// or postgres://"),
        ("hunter2", "it does not begin with postgresql:// or postgres://"),
        ("mysql://h", "it does not begin with postgresql:// or postgres://"),
        ("mysql://h/d?x=y", "it does not begin with postgresql:// or postgres://"),
        ("postgresql://h:x", "the port is not a number from 1 to 65535"),
        ("postgresql://h:hunter2", "the port is not a number from 1 to 65535"),
        ("postgresql://h:99999", "the port is not a number from 1 to 65535"),
        (
            "postgresql://h?port=1,2",
            "there are more or fewer ports than hosts; give one port for all, or one for each",
        ),
        (
            "postgresql://u:hun/ter2@h",
            "there is a `@` behind the host; in user name and password write `/`, `?`, `#` and `@` as %2F, %3F, %23 and %40",
        ),
        (
            "postgresql://u:hun?ter2@h",
            "there is a `@` behind the host; in user name and password write `/`, `?`, `#` and `@` as %2F, %3F, %23 and %40",
        ),
        (
            "postgresql://u:hun%ter2@h",
            "a `%` in the password is not followed by two hexadecimal digits; write `%25` for a percent sign",
        ),
        ("postgresql://u:%00@h", "the percent-encoding in the password gives no text in UTF-8"),
        ("postgresql://h h", "the host has a character that no host name has"),
        (
            "postgresql://a:b:c",
            "there is more than one `:` in the host; write an IPv6 address as `[::1]`, and `:` and `@` in a password as %3A and %40",
        ),
        ("postgresql://[::1", "the `[` of an IPv6 address is not closed"),
        ("postgresql://[x]", "there is no IPv6 address between `[` and `]`"),
        ("postgresql://%2C", "a host contains a comma"),
        ("postgresql://h?sslmode", "an option behind the `?` is not written `name=value`"),
        ("postgresql://h?sslmod=x", "an option is not known; did you mean `sslmode`?"),
        (
            "postgresql://h?hunter2=x",
            "an option is not known; known options: host, hostaddr, port, user, password, passfile, dbname, service, servicefile, sslmode, sslnegotiation, sslrootcert, sslcert, sslkey, sslcertmode, channel_binding, require_auth, target_session_attrs, load_balance_hosts, connect_timeout, keepalives, keepalives_idle, keepalives_interval, keepalives_count, tcp_user_timeout, options, application_name, fallback_application_name",
        ),
        (
            "postgresql://h?sslmode=verify-ful",
            "sslmode is not one of disable, allow, prefer, require, verify-ca, verify-full; did you mean `verify-full`?",
        ),
        (
            "postgresql://h?sslmode=hunter2",
            "sslmode is not one of disable, allow, prefer, require, verify-ca, verify-full",
        ),
        (
            "postgresql://h?sslmode=require&sslrootcert=system",
            "sslrootcert=system needs sslmode=verify-full: anybody can have a certificate that the system trusts",
        ),
        ("postgresql://h?sslcert=/c", "sslcert and sslkey belong together; give both or none"),
        ("postgresql://h?connect_timeout=soon", "connect_timeout is not a whole number of seconds"),
        ("postgresql://h?sslcrl=/x", "the option sslcrl is not supported"),
        ("postgresql://h?channel_binding=hunter2", "channel_binding is not one of disable, prefer, require"),
        (
            "postgresql://h?target_session_attrs=read-writ",
            "target_session_attrs is not one of any, read-write, read-only, primary, standby, prefer-standby; did you mean `read-write`?",
        ),
        (
            "postgresql://h?require_auth=md5,!password",
            "require_auth has methods with and without `!`; write all with it, or none",
        ),
        (
            "postgresql://h?sslnegotiation=direct",
            "sslnegotiation=direct needs sslmode=require, verify-ca or verify-full",
        ),
        ("postgresql://h?hostaddr=hunter2", "hostaddr is no IP address"),
        (
            "postgresql://a,b?hostaddr=::1",
            "there are more or fewer addresses in hostaddr than hosts; give one for each",
        ),
        ("postgresql://h?keepalives_idle=x", "keepalives_idle is not a whole number"),
        ("postgresql://h?sslsni=0", "the option sslsni is supported only with 1"),
        ("host=h hunter2", "a word is not written `name=value`"),
        ("host=h hunter2 user=x", "a word is not written `name=value`"),
        ("host=h password='hunter2", "a `'` is not closed"),
        ("password=hunter2 hoost=x", "an option is not known; did you mean `host`?"),
    ] {
        let found = PostgresUrl::parse(typed, &env).unwrap_err().to_string();
        assert!(!found.contains("hunter2"), "{found}");
        if found != expected {
            wrong += &format!("{typed:?}\n  {found:?}\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn variables_stand_for_what_is_not_given() {
    let env = |name: &str| match name {
        "PGHOST" => Some("v".to_owned()),
        "PGPORT" => Some("7".to_owned()),
        "PGUSER" => Some("me".to_owned()),
        "PGTARGETSESSIONATTRS" => Some("primary".to_owned()),
        "PGSSLMODE" => Some(String::new()),
        _ => None,
    };
    let shown = |text: &str| PostgresUrl::parse(text, &env).unwrap().to_string();
    assert_eq!(shown("postgresql://"), "postgresql://me@v:7/me?target_session_attrs=primary");
    assert_eq!(shown("postgresql://u@h/d?target_session_attrs=any"), "postgresql://u@h:7/d");
    // An empty value is the default, whatever the variable says.
    assert_eq!(shown("host=h port='' dbname=d target_session_attrs="), "postgresql://me@h:5432/d");
}

#[test]
fn methods_and_addresses() {
    let url = parse(
        "postgresql://a,b?hostaddr=,10.0.0.1&require_auth=!password,!md5&keepalives_count=5&keepalives=0",
    );
    assert_eq!(url.hostaddrs, [None, Some("10.0.0.1".parse().unwrap())]);
    let allowed = url.require_auth.unwrap();
    assert!(allowed.contains(&AuthMethod::ScramSha256) && !allowed.contains(&AuthMethod::Md5));
    assert_eq!((url.keep_alive.enabled, url.keep_alive.count), (false, Some(5)));
    assert_eq!(parse("hostaddr=10.0.0.1 user=u dbname=d").to_string(), "postgresql://u@10.0.0.1:5432/d");
}

#[test]
fn debug_shows_no_password() {
    assert!(!format!("{:?}", parse("postgresql://u:hunter2@h")).contains("hunter2"));
}

proptest! {
    #[test]
    fn any_text(
        scheme in "postgresql://|postgres://|host=|\\PC{0,3}",
        rest in "[a-c:@/?,=&%2' \\[\\]é.]{0,20}|\\PC{0,30}",
    ) {
        if let Ok(url) = PostgresUrl::parse(&format!("{scheme}{rest}"), &env) {
            let shown = url.to_string();
            let again = PostgresUrl::parse(&shown, &|_| None).unwrap();
            prop_assert_eq!(again.to_string(), shown);
            prop_assert_eq!(again.hosts, url.hosts);
            prop_assert_eq!(again.user, url.user);
            prop_assert_eq!(again.dbname, url.dbname);
            prop_assert_eq!(again.sslmode, url.sslmode);
        }
    }

    #[test]
    fn any_settings(
        user in "[^\0]{1,8}", dbname in "[^\0]{1,8}", password in "[^\0]{1,8}",
        cert in "[^\0]{1,8}", timeout in 1..i32::MAX, mode in 0..6usize,
    ) {
        let quote = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
        let mode = super::SSL_MODES[mode].0;
        let url = parse(&format!(
            "host=h user={} dbname={} password={} sslcert={} sslkey=k connect_timeout={timeout} sslmode={mode}",
            quote(&user), quote(&dbname), quote(&password), quote(&cert),
        ));
        prop_assert_eq!(url.password.as_ref().unwrap().expose_secret(), password.as_str());
        let again = parse(&url.to_string());
        prop_assert_eq!((again.user, again.dbname), (user, dbname));
        prop_assert_eq!(again.sslcert, url.sslcert);
        prop_assert_eq!(again.connect_timeout, url.connect_timeout);
        prop_assert_eq!(again.sslmode, url.sslmode);
        prop_assert!(again.password.is_none());
    }

    #[test]
    fn no_broken_url_shows_its_password(
        url in "(postgresql://|host=h )[a-z:@/?,=&%\\[\\]' ]{0,6}hunter2[a-z:@/?,=&%\\[\\]' ]{0,12}"
    ) {
        if let Err(error) = PostgresUrl::parse(&url, &env) {
            prop_assert!(!error.to_string().contains("hunter2"));
        }
    }
}
