//! As much of a browser as these tests need.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::harness::PATIENCE;

/// Where the program answers, and what is sent along with every request.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    pub(crate) port: u16,
    pub(crate) headers: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// As they came, the names in lower case.
    pub(crate) headers: String,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }
}

impl Browser {
    pub(crate) fn at(port: u16) -> Browser {
        Browser { port, headers: Vec::new() }
    }

    pub(crate) fn with(&self, name: &str, value: &str) -> Browser {
        let mut browser = self.clone();
        browser.headers.retain(|(known, _)| known != name);
        browser.headers.push((name.to_owned(), value.to_owned()));
        browser
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None)
    }

    pub(crate) fn post(&self, path: &str, body: Option<Value>) -> Answer {
        self.ask("POST", path, body)
    }

    /// A document, which must be there.
    #[track_caller]
    pub(crate) fn json(&self, path: &str) -> Value {
        let answer = self.get(path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let mut reader = self.begin(method, path, body);
        let (status, headers) = head(&mut reader);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        if headers.contains("transfer-encoding: chunked") {
            text = unchunked(&text);
        }
        Answer { status, headers, text }
    }

    /// Sends a request; the reader stands before the answer.
    pub(crate) fn begin(&self, method: &str, path: &str, body: Option<Value>) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let body = body.map(|body| body.to_string());
        let mut request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !self.headers.iter().any(|(name, _)| name == "host") {
            request += &format!("host: 127.0.0.1:{}\r\n", self.port);
        }
        for (name, value) in &self.headers {
            request += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = &body {
            request += &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        } else if method != "GET" {
            request += "content-length: 0\r\n";
        }
        request += "\r\n";
        request += &body.unwrap_or_default();
        stream.write_all(request.as_bytes()).unwrap();
        BufReader::new(stream)
    }
}

/// Reads up to the body.
pub(crate) fn head(reader: &mut impl BufRead) -> (u16, String) {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_lowercase());
    }
    let status = lines.first().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    (status.unwrap_or_else(|| panic!("no answer: {lines:?}")), lines.join("\n"))
}

fn unchunked(text: &str) -> String {
    let (mut whole, mut rest) = (String::new(), text);
    while let Some((length, more)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            break;
        }
        whole += &more[..length];
        rest = &more[length + 2..];
    }
    whole
}
