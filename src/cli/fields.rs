//! How the fields of a log line are written for people: the message, then `name=value`. The kind of an event is for
//! machines, which get it in JSON; people read it in the message.

use std::fmt;

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// The field that tells the kind of an event.
const KIND: &str = "event";

#[derive(Debug)]
pub(super) struct Readable;

impl<'w> FormatFields<'w> for Readable {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line { writer, begun: false, result: Ok(()) };
        fields.record(&mut line);
        line.result
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    begun: bool,
    result: fmt::Result,
}

impl Line<'_> {
    fn write(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // What the `log` crate brings has fields of its own.
        if self.result.is_err() || field.name() == KIND || field.name().starts_with("log.") {
            return;
        }
        // What a terminal would act upon is shown as an escape; line ends are seen to where lines are written.
        let mut shown = String::new();
        for c in value.to_string().chars() {
            match c {
                '\n' | '\r' => shown.push(' '),
                c if c.is_control() => shown.extend(c.escape_default()),
                c => shown.push(c),
            }
        }
        let space = if self.begun { " " } else { "" };
        self.begun = true;
        self.result = match field.name() {
            "message" => write!(self.writer, "{space}{shown}"),
            name if self.writer.has_ansi_escapes() => {
                write!(self.writer, "{space}\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{shown}")
            }
            name => write!(self.writer, "{space}{name}={shown}"),
        };
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.write(field, format_args!("{value}")),
            _ => self.write(field, format_args!("{value:?}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field, format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt as _;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn for_people() {
        let written = Written::default();
        let writer = written.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .fmt_fields(Readable);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info!(event = "fails", table = "a\x1b[2J\"b", rows = 7, "it\x1b[31m failed\nagain");
            tracing::warn!(name = %"c\x07d", "so");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(
            text,
            " INFO it\\u{1b}[31m failed again table=\"a\\u{1b}[2J\\\"b\" rows=7\n WARN so name=c\\u{7}d\n"
        );
    }
}
