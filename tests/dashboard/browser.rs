//! A headless Chromium, by the WebDriver protocol.
//!
//! ```text
//!   test ──HTTP──> chromedriver ──pipe──> chromium (a profile of its own in a directory of the test)
//! ```
//!
//! When a test ends, however it ends, the leash ends chromedriver, and Chromium ends with the pipe.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use redis_connect_postgres::throwaway::{Directory, Leash, free_port};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// For one command. The first one starts the browser, on a machine that runs other tests too.
const PATIENCE: Duration = Duration::from_secs(120);

/// Under this name an answer has an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// What Chromium calls the keys that tests press.
pub(crate) const TAB: &str = "\u{e004}";
pub(crate) const ENTER: &str = "\u{e007}";
pub(crate) const ESCAPE: &str = "\u{e00c}";

/// Where the programs are.
#[derive(Debug)]
pub(crate) struct Installed {
    driver: PathBuf,
    chromium: PathBuf,
}

/// Chromium and its driver, or what is missing. `TEST_CHROMEDRIVER` and `TEST_CHROMIUM` name others.
pub(crate) fn installed() -> Result<Installed, String> {
    let find = |variable: &str, names: &[&str]| {
        if let Some(named) = env::var_os(variable) {
            return Ok(PathBuf::from(named));
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&path)
            .flat_map(|directory| names.iter().map(move |name| directory.join(name)))
            .find(|file| file.is_file());
        found.ok_or_else(|| format!("no {} found; .ci/install installs it where it can", names[0]))
    };
    Ok(Installed {
        driver: find("TEST_CHROMEDRIVER", &["chromedriver"])?,
        chromium: find("TEST_CHROMIUM", &["chromium", "chromium-browser", "google-chrome"])?,
    })
}

pub(crate) struct Browser {
    runtime: Runtime,
    port: u16,
    /// `/session/ID`
    session: String,
    driver: Child,
    _leash: Leash,
    _directory: Directory,
}

impl Browser {
    pub(crate) fn start(installed: &Installed) -> Browser {
        let directory = Directory::new("browser").unwrap();
        let path = |name: &str| {
            let path = directory.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let (home, profile) = (path("home"), path("profile"));
        let port = free_port().unwrap();
        let driver = Command::new(&installed.driver)
            .arg(format!("--port={port}"))
            .env("HOME", &home)
            .env("TMPDIR", &home)
            .envs(["XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"].map(|name| (name, &home)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let leash = Leash::new(&driver).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut browser =
            Browser { runtime, port, session: String::new(), driver, _leash: leash, _directory: directory };
        browser.wait_for_driver();
        browser.begin(&installed.chromium, &profile);
        browser
    }

    fn wait_for_driver(&self) {
        let began = Instant::now();
        while self.ask("GET", "/status", None).is_err() {
            assert!(began.elapsed() < PATIENCE, "chromedriver does not answer");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn begin(&mut self, chromium: &Path, profile: &Path) {
        let profile = format!("--user-data-dir={}", profile.display());
        let capabilities = json!({
            "browserName": "chrome",
            // Everything that the page logs, and everything that it loads.
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            "goog:chromeOptions": {
                "binary": chromium,
                "args": [
                    "--headless=new", "--disable-gpu", "--no-first-run", "--window-size=1280,900",
                    "--disable-background-networking", "--disable-component-update", "--disable-sync",
                    // Containers often have no namespaces or too little shared memory; what is shown is our own.
                    "--no-sandbox", "--disable-dev-shm-usage",
                    // So that it ends with chromedriver.
                    "--remote-debugging-pipe",
                    profile,
                ],
            },
        });
        let capabilities = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let answer = self.ask("POST", "/session", Some(capabilities)).unwrap_or_else(|e| panic!("{e}"));
        self.session = format!("/session/{}", answer["sessionId"].as_str().unwrap());
    }

    fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, String> {
        let exchange = async {
            let stream = TcpStream::connect(("127.0.0.1", self.port)).await.map_err(|e| e.to_string())?;
            let (mut sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
            let connection = tokio::spawn(connection);
            let text = body.map_or_else(String::new, |body| body.to_string());
            let request = Request::builder()
                .method(method)
                .uri(path)
                .header(header::HOST, format!("127.0.0.1:{}", self.port))
                .header(header::CONTENT_TYPE, "application/json")
                .body(Full::new(Bytes::from(text)))
                .unwrap();
            let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
            let good = response.status().is_success();
            let text = response.into_body().collect().await.map_err(|e| e.to_string())?.to_bytes();
            connection.abort();
            let mut answer: Value = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
            let value = answer["value"].take();
            if good { Ok(value) } else { Err(format!("{}: {}", value["error"], value["message"])) }
        };
        let limited = async { tokio::time::timeout(PATIENCE, exchange).await };
        self.runtime.block_on(limited).unwrap_or_else(|_| Err(format!("{method} {path} takes too long")))
    }

    #[track_caller]
    fn post(&self, path: &str, body: Value) -> Value {
        self.ask("POST", &format!("{}{path}", self.session), Some(body))
            .unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    #[track_caller]
    pub(crate) fn open(&self, url: &str) {
        self.post("/url", json!({ "url": url }));
    }

    /// Runs the body of a function in the page; a promise that it returns is awaited.
    #[track_caller]
    pub(crate) fn run(&self, script: &str, arguments: Value) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": arguments }))
    }

    /// The value of an expression.
    #[track_caller]
    pub(crate) fn value(&self, expression: &str) -> Value {
        self.run(&format!("return ({expression});"), json!([]))
    }

    /// A command of Chromium's own protocol.
    #[track_caller]
    pub(crate) fn chromium(&self, command: &str, parameters: Value) -> Value {
        self.post("/goog/cdp/execute", json!({ "cmd": command, "params": parameters }))
    }

    #[track_caller]
    fn element(&self, selector: &str) -> String {
        let found = self.post("/element", json!({ "using": "css selector", "value": selector }));
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    /// A click where the element is: fails when something is in front of it.
    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/click"), json!({}));
    }

    #[track_caller]
    pub(crate) fn fill(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.post(&format!("/element/{element}/clear"), json!({}));
        self.post(&format!("/element/{element}/value"), json!({ "text": text }));
    }

    /// Chooses from a list, by value.
    #[track_caller]
    pub(crate) fn choose(&self, selector: &str, value: &str) {
        self.click(&format!("{selector} option[value='{value}']"));
    }

    /// Presses a key, wherever the focus is.
    #[track_caller]
    pub(crate) fn press(&self, key: &str) {
        let keys = [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })];
        self.post("/actions", json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": keys }] }));
    }

    /// New entries: of `browser`, what the page logged; of `performance`, what the browser did.
    #[track_caller]
    pub(crate) fn log(&self, kind: &str) -> Vec<Value> {
        self.post("/se/log", json!({ "type": kind })).as_array().unwrap().clone()
    }

    /// The page in this size, as on a phone when it is narrow.
    #[track_caller]
    pub(crate) fn size(&self, (width, height): (u32, u32), scale: f64) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600,
        });
        self.chromium("Emulation.setDeviceMetricsOverride", size);
    }

    /// `light` or `dark`.
    #[track_caller]
    pub(crate) fn scheme(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.chromium("Emulation.setEmulatedMedia", json!({ "features": features }));
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self.ask("DELETE", &self.session, None);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}
