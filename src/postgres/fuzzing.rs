//! The stream of a connection that copies out, for [`crate::fuzzing`]: framing is known only here.

use super::ServerError;
use super::wire::{Framing, frame};
use crate::fuzzing::bounded;

/// Gives `row` the body of each CopyData message.
pub(crate) fn frames(stream: &[u8], mut row: impl FnMut(&mut [u8])) {
    let mut received = stream.to_vec();
    let mut rest = received.as_mut_slice();
    loop {
        match frame(rest) {
            Framing::Nonsense => return,
            Framing::Incomplete(wanted) => {
                assert!(wanted > rest.len(), "the message is there, and {wanted} bytes are waited for");
                return;
            }
            Framing::Whole(found) => {
                let (message, after) = rest.split_at_mut(found.body.end);
                let body = &mut message[found.body];
                match found.kind {
                    b'd' => row(body),
                    b'E' => {
                        let error = ServerError::parse(body);
                        bounded("an error", error.to_string().len(), 8, body.len());
                    }
                    _ => {}
                }
                rest = after;
            }
        }
    }
}
